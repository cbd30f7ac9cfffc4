import type postgres from 'postgres';
import { until } from './until.js';

export interface HeldTransaction {
  readonly sql: postgres.ReservedSql;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** A transaction on a connection of its own that stays open until it is told to end: it holds what it locks. */
export async function openTransaction(sql: postgres.Sql): Promise<HeldTransaction> {
  const connection = await sql.reserve();
  await connection`begin`;
  const end = async (how: 'commit' | 'rollback') => {
    await connection.unsafe(how);
    connection.release();
  };
  return { sql: connection, commit: () => end('commit'), rollback: () => end('rollback') };
}

/** Resolves when `count` statements of the database wait for a lock. */
export async function untilWaiting(sql: postgres.Sql, count = 1): Promise<void> {
  await until(
    async () => {
      const waiting = await sql`
        select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      return waiting.length >= count;
    },
    { what: `${count} statement(s) to wait for a lock` },
  );
}

/** Counts the rows of each deleting or updating statement on the jobs from now on; the answer is the largest. */
export async function watchStatements(
  sql: postgres.Sql,
): Promise<{ largest(): Promise<number>; end(): Promise<void> }> {
  await sql.unsafe(`
    create table if not exists statement_sizes (n int not null);
    create or replace function note_statement() returns trigger language plpgsql as
      $$ begin insert into statement_sizes select count(*) from touched; return null; end $$;
    create trigger note_delete after delete on conveyor_jobs
      referencing old table as touched for each statement execute function note_statement();
    create trigger note_update after update on conveyor_jobs
      referencing new table as touched for each statement execute function note_statement()`);
  return {
    async largest() {
      const [row] = await sql<{ n: number | null }[]>`select max(n) as n from statement_sizes`;
      return row?.n ?? 0;
    },
    async end() {
      await sql.unsafe(`
        drop trigger note_delete on conveyor_jobs; drop trigger note_update on conveyor_jobs;
        drop table statement_sizes`);
    },
  };
}

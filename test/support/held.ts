import type postgres from 'postgres';
import { until } from './until.js';

export interface HeldTransaction {
  readonly sql: postgres.ReservedSql;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** A transaction on a connection of its own. It holds its locks until the test commits it or rolls it back. */
export async function openTransaction(sql: postgres.Sql): Promise<HeldTransaction> {
  const connection = await sql.reserve();
  await connection`begin`;
  const end = async (how: 'commit' | 'rollback') => {
    await connection.unsafe(how);
    connection.release();
  };
  return { sql: connection, commit: () => end('commit'), rollback: () => end('rollback') };
}

/** A transaction that holds the lock of a job's row. */
export async function lockRow(sql: postgres.Sql, queueName: string, id: string): Promise<HeldTransaction> {
  const held = await openTransaction(sql);
  await held.sql`select 1 from conveyor_jobs where queue_name = ${queueName} and id = ${id} for update`;
  return held;
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

/** Counts the rows of each delete and update of jobs from now on; `largest()` is the greatest count. */
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

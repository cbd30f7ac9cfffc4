import type postgres from 'postgres';
import type { Figures } from '../scenarios/scenario.js';

export interface Reading {
  readonly at: number;
  /** Bytes of WAL. */
  readonly wal: number;
  /** Transactions that wrote something. */
  readonly writes: number;
  /** All transactions of this database. */
  readonly transactions: number;
  /** Statements of clients in this database, if they are counted. */
  readonly statements: number | undefined;
}

/** Reads the server's counters, which other load on the machine does not change. */
export interface Meter {
  read(): Promise<Reading>;
  /** Rate and cost per job since a reading, without the meter's own statements. */
  since(before: Reading, jobs: number): Promise<Figures>;
}

export async function postgresMeter(sql: postgres.Sql): Promise<Meter> {
  const [extension] = await sql`select from pg_extension where extname = 'pg_stat_statements'`;
  async function read(): Promise<Reading> {
    const [row] = await sql<{ lsn: string; xid: string; commits: string }[]>`
      select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as lsn, pg_current_xact_id()::text as xid,
        (select xact_commit::text from pg_stat_database where datname = current_database()) as commits`;
    const at = performance.now();
    return {
      at,
      wal: Number(row?.lsn),
      writes: Number(row?.xid),
      transactions: Number(row?.commits),
      statements: extension ? await statements(sql) : undefined,
    };
  }
  return {
    read,
    async since(before, jobs) {
      const after = await read();
      return {
        perSecond: (jobs / (after.at - before.at)) * 1000,
        walPerJob: (after.wal - before.wal) / jobs,
        writesPerJob: (after.writes - before.writes - 1) / jobs,
        ...(after.statements !== undefined && {
          statementsPerJob: (after.statements - (before.statements ?? 0)) / jobs,
        }),
      };
    },
  };
}

/** What clients have sent, without the meter's own, the look for unfinished jobs and the server's checks of foreign keys. */
async function statements(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ calls: string }[]>`
    select coalesce(sum(calls), 0)::text as calls from pg_stat_statements
    where dbid = (select oid from pg_database where datname = current_database())
      and query !~ 'pg_stat_statements|pg_current_xact_id|exists \\(select from|FROM ONLY .* FOR KEY SHARE OF x'`;
  return Number(row?.calls);
}

/** For a contender that is not on Postgres: time only. */
export const clock: Meter = {
  read: async () => ({ at: performance.now(), wal: 0, writes: 0, transactions: 0, statements: undefined }),
  since: async (before, jobs) => ({ perSecond: (jobs / (performance.now() - before.at)) * 1000 }),
};

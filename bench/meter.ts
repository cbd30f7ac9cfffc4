import postgres from 'postgres';

export interface Reading {
  /** Bytes of WAL. */
  readonly wal: number;
  /** Transactions that wrote something. */
  readonly transactions: number;
  /** All transactions of this database. */
  readonly commits: number;
  readonly at: number;
}

/** Reads the server's counters, which other load on the machine does not change. */
export class Meter {
  readonly sql: postgres.Sql;

  constructor(url: string) {
    this.sql = postgres(url, { max: 1, onnotice() {} });
  }

  async read(): Promise<Reading> {
    const [row] = await this.sql<{ lsn: string; xid: string; commits: string }[]>`
      select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as lsn, (pg_current_xact_id()::text) as xid,
        (select xact_commit::text from pg_stat_database where datname = current_database()) as commits`;
    return {
      wal: Number(row?.lsn),
      transactions: Number(row?.xid),
      commits: Number(row?.commits),
      at: performance.now(),
    };
  }

  /** Cost per job since a reading, without the meter's own transactions. */
  async since(before: Reading, jobs: number): Promise<Record<string, number>> {
    const after = await this.read();
    return {
      perSecond: (jobs / (after.at - before.at)) * 1000,
      walPerJob: (after.wal - before.wal) / jobs,
      transactionsPerJob: (after.transactions - before.transactions - 1) / jobs,
    };
  }

  async close(): Promise<void> {
    await this.sql.end();
  }
}

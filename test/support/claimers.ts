import type postgres from 'postgres';
import { afterAll } from 'vitest';
import { openPool } from '../../src/db/connect.js';
import type { Executor } from '../../src/db/executor.js';
import { PreparedExecutor } from '../../src/db/prepared-executor.js';
import { tablesIn } from '../../src/db/tables.js';
import type { ClaimRequest } from '../../src/store/claim/claim.js';
import { claimWithin } from '../../src/store/claim/dispatch.js';
import { type FetchLimits, resolveLimits } from '../../src/store/claim/limits.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { settle } from '../../src/store/settle/settle.js';
import type { UsedDatabase } from './database.js';

type Claim = Partial<ClaimRequest> & FetchLimits;

/** One worker with one connection of its own, and what it has taken. */
export class Claimer {
  readonly executor: Executor;
  readonly id: string;
  /** Statements run so far. */
  statements = 0;
  readonly #queueName: string;

  constructor(client: postgres.Sql, id: string, queueName: string) {
    const inner = new PreparedExecutor(() => client, tablesIn(undefined), { prepare: true, timeout: 30_000 });
    this.executor = {
      tables: inner.tables,
      run: (statement, values, options) => {
        this.statements++;
        return inner.run(statement, values, options);
      },
    };
    this.id = id;
    this.#queueName = queueName;
  }

  async ask(claim: Claim = {}) {
    const request = { queueName: this.#queueName, workerId: this.id, lockDuration: 60_000, limit: 1 };
    return claimWithin(this.executor, { ...request, ...claim }, resolveLimits(claim));
  }

  async claim(claim: Claim = {}): Promise<StoredJob[]> {
    return (await this.ask(claim)).jobs;
  }

  async ids(claim: Claim = {}): Promise<string[]> {
    return (await this.claim(claim)).map(({ job }) => job.id);
  }

  /** The group ids of what was taken, an empty text for none. */
  async groups(claim: Claim = {}): Promise<string[]> {
    return (await this.claim(claim)).map(({ job }) => job.groupId ?? '');
  }

  async complete(jobs: readonly StoredJob[]): Promise<void> {
    if (jobs.length === 0) return;
    await settle(
      this.executor,
      jobs.map(({ job, lease }) => ({
        queueName: job.queueName,
        id: job.id,
        lease,
        workerId: this.id,
        kind: 'completed',
        hasParent: false,
      })),
      { metrics: false, shard: 0 },
    );
  }
}

/** Opens claimers on a database; their connections end with the suite. */
export function useClaimers(database: UsedDatabase): (queueName: string, count: number) => Promise<Claimer[]> {
  const pool: postgres.Sql[] = [];
  // Hooks run last in, first out: the database is still there.
  afterAll(() => Promise.all(pool.map((client) => client.end({ timeout: 1 }))));
  return async (queueName, count) => {
    const { hostname, port, username, password, pathname } = new URL(database.url);
    const connection = {
      host: hostname,
      port: Number(port),
      username: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: pathname.slice(1),
      max: 1,
      idle_timeout: 0,
    };
    while (pool.length < count) pool.push(await openPool(connection, 30_000));
    return pool.slice(0, count).map((client, i) => new Claimer(client, `claimer-${i}`, queueName));
  };
}

/**
 * The most jobs that were active at once, per group or in the whole queue, by the times that the database gave them. A
 * claim that follows an end has a later time than it, so an overlap of times is an overlap in fact.
 */
export async function mostActive(sql: postgres.Sql, queueName: string, by: 'group' | 'queue'): Promise<number> {
  const [row] = await sql<{ most: number }[]>`
    select max(n)::int as most from (
      select sum(step) over (partition by grp order by at, step) as n from (
        select case when ${by === 'group'} then coalesce(group_id, '') end as grp, e.at, e.step
        from conveyor_jobs, lateral (values (processed_at, 1), (completed_at, -1)) e(at, step)
        where queue_name = ${queueName} and state in ('active', 'completed') and e.at is not null
          and (${by === 'queue'} or group_id is not null)) x) y`;
  return row?.most ?? 0;
}

/** Makes the fetches that the rate limits of a queue remember `ms` older, as if that time had passed. */
export async function ageFetches(sql: postgres.Sql, queueName: string, ms: number): Promise<void> {
  for (const table of ['conveyor_rate_limits', 'conveyor_group_cursors']) {
    await sql`
      update ${sql(table)} set fetches = (
        select jsonb_agg(jsonb_build_array((entry ->> 0)::bigint - ${ms}::bigint, entry -> 1) order by n)
        from jsonb_array_elements(fetches) with ordinality e(entry, n))
      where queue_name = ${queueName} and fetches <> '[]'`;
  }
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, literal } from '../../db/tables.js';
import { epochMs, statementTime } from '../../db/time.js';
import { leaseExpired } from '../../store/rules/lease.js';
import { inState } from '../../store/rules/states.js';
import { PAGE_TIMEOUT } from './limits.js';

const LATENCY_SAMPLE = 1_000;
const MAX_ACTIVE = 5_000;
const MAX_WORKERS = 50;

/** How long the newest completed jobs ran, in ms. */
export interface Latency {
  readonly sample: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

const selectLatency = statement(
  'dashboard latency',
  ['queue'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const percentile = (share: number) => sql`percentile_cont(${literal(share)}) within group (order by ms)`;
    return sql`
      select ${columns(sql`count(*)`, percentile(0.5), percentile(0.95), sql`max(ms)`)} from (
        select date_part('epoch', ${j.completedAt} - ${j.processedAt}) * 1000 as ms from ${db.jobs} as ${j}
        where ${j.queueName} = ${p.queue} and ${inState(j, 'completed')}
        order by ${j.completedAt} desc, ${j.seq} desc limit ${literal(LATENCY_SAMPLE)}) newest
      where ms >= 0`;
  },
  { repeatable: true },
);

/** Null where no job has completed that is kept. */
export async function readLatency(executor: Executor, queue: string): Promise<Latency | null> {
  const [row] = await executor.run(selectLatency, { queue }, { timeout: PAGE_TIMEOUT });
  const [sample, p50, p95, max] = (row ?? []).map(Number);
  return sample ? { sample, p50: p50!, p95: p95!, max: max! } : null;
}

/** A worker, as far as the leases tell that it holds. */
export interface WorkerLeases {
  readonly id: string;
  readonly queueName: string;
  readonly leases: number;
  /** Start of the job that it has held for longest. */
  readonly oldest: Date | null;
  /** When the first of its leases expires. */
  readonly until: Date | null;
  readonly expired: number;
}

const selectWorkers = statement(
  'dashboard workers',
  ['queue'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`
      select ${columns(
        sql`by`,
        sql`count(*)`,
        epochMs(sql`min(began)`),
        epochMs(sql`min(until)`),
        sql`count(*) filter (where expired)`,
      )}
      from (
        select ${j.lockedBy} as by, ${j.processedAt} as began, ${j.lockUntil} as until, ${leaseExpired(j)} as expired
        from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${inState(j, 'active')}
        limit ${literal(MAX_ACTIVE)}) held
      where by is not null group by by order by count(*) desc, by limit ${literal(MAX_WORKERS)}`;
  },
  { repeatable: true },
);

export async function readWorkers(executor: Executor, queue: string): Promise<WorkerLeases[]> {
  const rows = await executor.run(selectWorkers, { queue }, { timeout: PAGE_TIMEOUT });
  const time = (ms: string | null | undefined) => (ms == null ? null : new Date(Number(ms)));
  return rows.map(([id, leases, oldest, until, expired]) => ({
    id: id as string,
    queueName: queue,
    leases: Number(leases),
    oldest: time(oldest),
    until: time(until),
    expired: Number(expired),
  }));
}

/** What rate-limited claims have left: limits themselves are options of workers, and not in the database. */
export interface RateUse {
  /** ms. */
  readonly window: number;
  /** Jobs claimed in the window that ends now. */
  readonly claimed: number;
}

const selectRate = statement(
  'dashboard rate',
  ['queue'],
  (db, p) => {
    const r = alias(db.rateLimits, 'r');
    return sql`select ${columns(r.windowMs, r.fetches, epochMs(statementTime))}
      from ${db.rateLimits} as ${r} where ${r.queueName} = ${p.queue} and ${r.windowMs} > 0`;
  },
  { repeatable: true },
);

export async function readRate(executor: Executor, queue: string): Promise<RateUse | null> {
  const [row] = await executor.run(selectRate, { queue }, { timeout: PAGE_TIMEOUT });
  if (!row) return null;
  const [window, fetches, now] = row as string[];
  const since = Number(now) - Number(window);
  const claims = JSON.parse(fetches!) as [number, number][];
  const recent = claims.filter(([at]) => at > since);
  return { window: Number(window), claimed: recent.reduce((sum, [, count]) => sum + count, 0) };
}

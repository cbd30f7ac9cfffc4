import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import { claimedColumns, readJob, type StoredJob } from '../rows/job-row.js';

/** Where a claim's scan begins: everything of a lower priority value, or before `seq` in it, is passed over. */
export interface Watermark {
  readonly priority: number;
  readonly seq: number;
}

export const FROM_THE_START: Watermark = { priority: -2_147_483_648, seq: -Number.MAX_SAFE_INTEGER };

export interface ClaimRequest {
  queueName: string;
  workerId: string;
  /** ms. */
  lockDuration: number;
  limit: number;
  lifo?: boolean | undefined;
  jobName?: string | undefined;
  from?: Watermark | undefined;
}

/**
 * The limit of a claim, and the one place that turns off waiting for the disk: if the server dies before a claim is
 * on disk, the job is simply waiting again. The settling that follows waits for the disk, and covers the claim.
 */
export function asyncCommitLimit(limit: SQLWrapper): SQL {
  return sql`(select case set_config('synchronous_commit', 'off', true) when 'off' then ${limit}::int end)`;
}

/** Names that must not be claimed now, as one array; `__all__` among them stops the queue. */
export function pausedNames(db: Tables, queue: SQLWrapper): SQL {
  const n = alias(db.pausedNames, 'n');
  return sql`select coalesce(array_agg(${n.jobName}), '{}'::text[]) as names
    from ${db.pausedNames} as ${n} where ${n.queueName} = ${queue}`;
}

/**
 * May be claimed: its name is not paused, and it is of the wanted name. That the whole queue is paused is asked apart,
 * so that it is decided once and not per waiting job. The CASE keeps the planner from guessing that hardly any row
 * passes: it would then read and sort the whole backlog instead of the head of the index.
 */
export function claimable(j: Jobs, jobName: SQLWrapper | undefined): SQL {
  const paused = sql`(select names from paused)::text[]`;
  const byName = jobName ? sql` and (case when ${j.name} = ${jobName} then true else false end)` : sql``;
  return sql`${running} and (case when cardinality(${paused}) = 0 then true
    else not ${j.name} = any(${paused}) end)${byName}`;
}

/** The queue as a whole is not paused. */
export const running: SQL = sql`not ('__all__' = any((select names from paused)::text[]))`;

/**
 * A locked row is still what it was locked for. As a CASE, because no index shall be found for it: while the table was
 * small, reading a whole index of waiting jobs seemed as good as the few rows by their place.
 */
export function stillWaiting(j: Jobs): SQL {
  return sql`(case ${j.state} when 'waiting' then true else false end)`;
}

/** What a claim makes of a job. (The sub-select is computed once, not for each row.) */
export function takeUnderLease(
  db: Tables,
  worker: SQLWrapper,
  lock: SQLWrapper,
  time: SQL = sql`(select ${now})`,
): SQL {
  const col = bare(db.jobs);
  const j = alias(db.jobs, 'j');
  return sql`${col.state} = 'active', ${col.lease} = ${j.lease} + 1, ${col.lockedBy} = ${worker},
    ${col.processedAt} = ${time}, ${col.lockUntil} = ${time} + ${interval(lock)}`;
}

/** Newest first inside a priority is of any name or one; the plain order has a variant of its own for a name. */
export const CLAIM_ORDERS = ['fifo', 'by name', 'lifo'] as const;
export type ClaimOrder = (typeof CLAIM_ORDERS)[number];

export const claimName = (name: string, order: ClaimOrder): string => (order === 'fifo' ? name : `${name} ${order}`);

export function orderOf({ lifo, jobName }: Pick<ClaimRequest, 'lifo' | 'jobName'>): ClaimOrder {
  if (lifo) return 'lifo';
  return jobName === undefined ? 'fifo' : 'by name';
}

export type HeadParams = 'queue' | 'name' | 'priority' | 'seq';
type ClaimParams = HeadParams | 'worker' | 'lock' | 'limit';

/**
 * Rows are locked in the base table and re-checked in the update. They are found again by `ctid`: the row is locked,
 * so it stays where it is, and no second index probe is needed.
 */
const claimStatement: (shape: { order: ClaimOrder }) => Statement<ClaimParams> = variants(
  { order: CLAIM_ORDERS },
  ({ order }, declare) =>
    declare(claimName('claim', order), ['queue', 'worker', 'lock', 'limit', 'name', 'priority', 'seq'], (db, p) => {
      const j = alias(db.jobs, 'j');
      return sql`
        with ${order === 'lifo' ? sql`recursive` : sql``} paused as materialized (${pausedNames(db, p.queue)}),
        ${firstJobs(db, p, order, asyncCommitLimit(p.limit))}
        update ${db.jobs} as ${j} set ${takeUnderLease(db, p.worker, p.lock)}
        where ${j}.ctid = any(array(select ctid from next)) and ${stillWaiting(j)}
        returning ${claimedColumns(j)}`;
    }),
);

/** The CTE `next(ctid)`: the queue's first `limit` jobs, locked. It needs `paused`, and for lifo `with recursive`. */
export function firstJobs(db: Tables, p: Record<HeadParams, SQL>, order: ClaimOrder, limit: SQLWrapper): SQL {
  if (order === 'lifo') return newestFirst(db, p, limit);
  return oldestFirst(db, p, order === 'by name' ? p.name : undefined, limit);
}

function oldestFirst(db: Tables, p: Record<HeadParams, SQL>, name: SQLWrapper | undefined, limit: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  return sql`next as (
    select ${j}.ctid from ${db.jobs} as ${j}
    where ${j.queueName} = ${p.queue} and ${j.state} = 'waiting'
      and (${j.priority}, ${j.seq}) > (${p.priority}::int, ${p.seq}::bigint) and ${claimable(j, name)}
    order by ${j.priority}, ${j.seq} limit ${limit} for update skip locked)`;
}

/**
 * Priority ascending but newest first inside one is not an order of the index: walk from priority to priority, and
 * read each backwards. The walk ends as soon as enough rows are found.
 */
function newestFirst(db: Tables, p: Record<HeadParams, SQL>, limit: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const waiting = sql`${j.queueName} = ${p.queue} and ${j.state} = 'waiting'`;
  return sql`priorities as (
    (select ${j.priority} as priority from ${db.jobs} as ${j} where ${waiting} order by ${j.priority}, ${j.seq} limit 1)
    union all
    select (select ${j.priority} from ${db.jobs} as ${j} where ${waiting} and ${j.priority} > r.priority
      order by ${j.priority}, ${j.seq} limit 1)
    from priorities r where r.priority is not null),
  next as (
    select head.ctid from priorities r cross join lateral (
      select ${j}.ctid from ${db.jobs} as ${j}
      where ${waiting} and ${j.priority} = r.priority
        and ${claimable(j, undefined)} and (${p.name} is null or ${j.name} = ${p.name})
      order by ${j.seq} desc limit ${limit} for update skip locked) head
    limit ${limit})`;
}

/** Takes up to `limit` waiting jobs under a lease, in order: priority, then insertion. Never waits for a lock. */
export async function claim(executor: Executor, request: ClaimRequest): Promise<StoredJob[]> {
  const from = request.from ?? FROM_THE_START;
  const rows = await executor.run(claimStatement({ order: orderOf(request) }), {
    queue: request.queueName,
    worker: request.workerId,
    lock: request.lockDuration,
    limit: request.limit,
    name: request.jobName ?? null,
    priority: from.priority,
    seq: from.seq,
  });
  return inOrder(
    rows.map((row) => readJob(row, request)),
    request.lifo ?? false,
  );
}

/** An update returns its rows in no particular order. */
export function inOrder(jobs: StoredJob[], lifo: boolean): StoredJob[] {
  return jobs.sort((a, b) => a.priority - b.priority || (lifo ? b.seq - a.seq : a.seq - b.seq));
}

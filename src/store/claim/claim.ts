import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import { claimedColumns, readJob, type StoredJob } from '../rows/job-row.js';
import { stillIn } from '../rules/states.js';
import {
  CLAIM_ORDERS,
  type ClaimOrder,
  claimName,
  firstJobs,
  type OrderParams,
  orderOf,
  pausedNames,
  selectFirstJobs,
} from './eligible.js';

/** Where a claim's scan begins: jobs of a lower priority value, or before `seq` in it, are passed over. */
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
 * The limit of a claim, and the one place that sets synchronous_commit = off: if the server crashes before a claim is
 * on disk, the job is waiting again. The settlement that follows is flushed, and with it the claim.
 */
export function asyncCommitLimit(limit: SQLWrapper): SQL {
  return sql`(select case set_config('synchronous_commit', 'off', true) when 'off' then ${limit}::int end)`;
}

/** The assignments of a claimed job. (The sub-select is computed once, not for each row.) */
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

type ClaimParams = OrderParams | 'worker' | 'lock' | 'limit';

/**
 * Rows are locked in the base table and checked again in the update. They are found again by `ctid`: a locked row stays
 * where it is, so no second index probe is needed.
 */
const claimStatement: (shape: { order: ClaimOrder }) => Statement<ClaimParams> = variants(
  { order: CLAIM_ORDERS },
  ({ order }, declare) =>
    declare(claimName('claim', order), ['queue', 'worker', 'lock', 'limit', 'name', 'priority', 'seq'], (db, p) => {
      const j = alias(db.jobs, 'j');
      return sql`
        with ${order === 'lifo' ? sql`recursive` : sql``} ${pausedNames(db, p.queue)},
        ${selectFirstJobs(db, p, order, asyncCommitLimit(p.limit))}
        update ${db.jobs} as ${j} set ${takeUnderLease(db, p.worker, p.lock)}
        where ${j}.ctid = any(array(select ${firstJobs.place} from ${firstJobs.table})) and ${stillIn(j, 'waiting')}
        returning ${claimedColumns(j)}`;
    }),
);

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

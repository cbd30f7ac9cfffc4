import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import { claimedColumns, readJob } from '../rows/job-row.js';
import type { StoredJob } from '../rows/stored-job.js';
import { SKIP_NONE } from '../rules/set-aside.js';
import { stillIn } from '../rules/states.js';
import {
  CLAIM_MODES,
  CLAIM_ORDERS,
  type ClaimMode,
  type ClaimOrder,
  claimName,
  firstJobs,
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
  /** Jobs that are set aside, as a JSON array. */
  skip?: string | undefined;
  /** Only to find out what would be taken. */
  probe?: boolean | undefined;
}

export const modeOf = ({ skip, probe }: Pick<ClaimRequest, 'skip' | 'probe'>): ClaimMode =>
  probe ? 'probe' : skip === undefined || skip === SKIP_NONE ? 'plain' : 'sparing';

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

/** Takes the jobs at these places, or, to probe, only selects them. */
export function takenJobs(db: Tables, places: SQL, assignments: SQL, mode: ClaimMode): SQL {
  const j = alias(db.jobs, 'j');
  const chosen = sql`where ${j}.ctid = any(array(${places})) and ${stillIn(j, 'waiting')}`;
  if (mode === 'probe') return sql`select ${claimedColumns(j)} from ${db.jobs} as ${j} ${chosen}`;
  return sql`update ${db.jobs} as ${j} set ${assignments} ${chosen} returning ${claimedColumns(j)}`;
}

const PARAMS = ['queue', 'worker', 'lock', 'limit', 'name', 'priority', 'seq', 'skip'] as const;

/**
 * Rows are locked in the base table and checked again in the update. They are found again by `ctid`: a locked row stays
 * where it is, so no second index probe is needed.
 */
const claimStatement: (shape: { order: ClaimOrder; mode: ClaimMode }) => Statement<(typeof PARAMS)[number]> = variants(
  { order: CLAIM_ORDERS, mode: CLAIM_MODES },
  ({ order, mode }, declare) =>
    declare(claimName('claim', order, mode), PARAMS, (db, params) => {
      const p = { ...params, skip: mode === 'plain' ? undefined : params.skip };
      const places = sql`select ${firstJobs.place} from ${firstJobs.table}`;
      return sql`
        with ${order === 'lifo' ? sql`recursive` : sql``} ${pausedNames(db, p.queue)},
        ${selectFirstJobs(db, p, order, asyncCommitLimit(p.limit))}
        ${takenJobs(db, places, takeUnderLease(db, p.worker, p.lock), mode)}`;
    }),
);

/** Takes up to `limit` waiting jobs under a lease, in order: priority, then insertion. Never waits for a lock. */
export async function claim(executor: Executor, request: ClaimRequest): Promise<StoredJob[]> {
  const from = request.from ?? FROM_THE_START;
  const rows = await executor.run(claimStatement({ order: orderOf(request), mode: modeOf(request) }), {
    queue: request.queueName,
    worker: request.workerId,
    lock: request.lockDuration,
    limit: request.limit,
    name: request.jobName ?? null,
    priority: from.priority,
    seq: from.seq,
    skip: request.skip ?? null,
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

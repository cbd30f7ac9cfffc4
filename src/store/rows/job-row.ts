import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { columns, type Row } from '../../db/statement.js';
import type { Jobs } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { type AttemptRecord, JOB_STATES, type JobData, type JobOptions, type JobState } from '../../model/job.js';

/** A job with what the store keeps beside the public fields. */
export interface StoredJob {
  readonly job: JobData;
  readonly lease: number;
  readonly seq: number;
  readonly priority: number;
  readonly scheduleKey: string | null;
  readonly childrenValues: Record<string, unknown> | null;
  /** How often its worker was lost. */
  readonly stalledCount: number;
  /** Fields whose columns somebody changed by hand to what they cannot hold: the job is shown without them. */
  readonly damaged: readonly string[];
}

/**
 * The output list that reads a job. What most jobs do not have travels in one JSON column that is null for them: a
 * claim of hundreds of jobs parses fourteen cells each, not thirty-five.
 */
export function jobColumns(j: Jobs): SQL {
  return outputList(j, j.queueName, j.state, epochMs(j.lockUntil), j.lockedBy);
}

/** The same of a job that was just taken: what whoever took it knows is left out, and said to `readJob`. */
export function takenColumns(j: Jobs): SQL {
  const known = sql`null`;
  return outputList(j, known, known, known, known);
}

function outputList(
  j: Jobs,
  queueName: SQLWrapper,
  state: SQLWrapper,
  lockUntil: SQLWrapper,
  lockedBy: SQLWrapper,
): SQL {
  const empty = sql`'[]'::jsonb`;
  return columns(
    j.id,
    j.name,
    queueName,
    j.data,
    j.opts,
    state,
    j.attemptsMade,
    j.lease,
    j.seq,
    j.priority,
    epochMs(j.createdAt),
    epochMs(j.processedAt),
    lockUntil,
    lockedBy,
    sql`case when ${j.progress} = 0 and ${j.returnvalue} is null and ${j.failedReason} is null and ${j.logs} = ${empty}
      and ${j.stacktrace} = ${empty} and ${j.attemptLogs} = ${empty} and ${j.completedAt} is null
      and ${j.failedAt} is null and ${j.delayUntil} is null and ${j.cancelledAt} is null and ${j.parentId} is null
      and ${j.pendingChildrenCount} = 0 and ${j.childrenIds} = ${empty} and ${j.groupId} is null
      and ${j.deduplicationKey} is null and ${j.scheduleKey} is null and ${j.childrenValues} is null
      and ${j.parentQueueName} is null and not ${j.discarded} and ${j.stalledCount} = 0
    then null else jsonb_build_object(
      'progress', ${j.progress}, 'returnvalue', ${j.returnvalue}, 'failedReason', ${j.failedReason},
      'logs', ${j.logs}, 'stacktrace', ${j.stacktrace}, 'attemptLogs', ${j.attemptLogs},
      'completedAt', ${epochMs(j.completedAt)}, 'failedAt', ${epochMs(j.failedAt)},
      'delayUntil', ${epochMs(j.delayUntil)}, 'cancelledAt', ${epochMs(j.cancelledAt)},
      'parentId', ${j.parentId}, 'parentQueueName', ${j.parentQueueName},
      'pendingChildrenCount', ${j.pendingChildrenCount}, 'childrenIds', ${j.childrenIds}, 'groupId', ${j.groupId},
      'deduplicationKey', ${j.deduplicationKey}, 'discarded', ${j.discarded}, 'scheduleKey', ${j.scheduleKey},
      'childrenValues', ${j.childrenValues}, 'stalledCount', ${j.stalledCount}) end`,
  );
}

/** How many columns `jobColumns` puts out: a statement may add its own behind them. */
export const JOB_COLUMN_COUNT = 15;

interface Rest {
  progress: number;
  returnvalue: unknown;
  failedReason: string | null;
  logs: unknown;
  stacktrace: unknown;
  attemptLogs: unknown;
  completedAt: number | null;
  failedAt: number | null;
  delayUntil: number | null;
  cancelledAt: number | null;
  parentId: string | null;
  parentQueueName: string | null;
  pendingChildrenCount: number;
  childrenIds: unknown;
  groupId: string | null;
  deduplicationKey: string | null;
  discarded: boolean;
  scheduleKey: string | null;
  childrenValues: Record<string, unknown> | null;
  stalledCount: number;
}

/** The last time that a `Date` can hold; a column changed by hand may be beyond it. */
const MAX_TIME = 8.64e15;
const time = (ms: number | string | null | undefined): Date | null =>
  ms === null || ms === undefined || Math.abs(Number(ms)) > MAX_TIME ? null : new Date(Number(ms));
/** A column changed by hand to something else must not break a whole page of jobs. */
const list = <T>(value: unknown): T[] => (Array.isArray(value) ? value : []);
const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

const NONE: readonly string[] = [];

/** What `readJob` had to leave out, or shows as it is although no job can be so. */
function damageOf(state: unknown, opts: unknown, created: unknown, rest: Rest | undefined): readonly string[] {
  const damaged: string[] = [];
  if (!isJobState(state)) damaged.push('state');
  if (!isObject(opts)) damaged.push('opts');
  if (time(created as string | null) === null) damaged.push('createdAt');
  if (rest) {
    for (const name of ['logs', 'stacktrace', 'childrenIds'] as const)
      if (!Array.isArray(rest[name])) damaged.push(name);
    if (!Array.isArray(rest.attemptLogs) || !rest.attemptLogs.every(isObject)) damaged.push('attemptLogs');
    if (rest.childrenValues !== null && !isObject(rest.childrenValues)) damaged.push('childrenValues');
  }
  return damaged.length === 0 ? NONE : damaged;
}

/** What is the same for all jobs that one claim takes. */
export interface Taken {
  readonly queueName: string;
  readonly workerId: string;
  /** ms. */
  readonly lockDuration: number;
}

/** @param taken for a row of `takenColumns` */
export function readJob(row: Row, taken?: Taken): StoredJob {
  const [
    id,
    name,
    queue,
    data,
    opts,
    stateNow,
    attemptsMade,
    lease,
    seq,
    priority,
    created,
    processed,
    lock,
    by,
    more,
  ] = row as string[];
  const state = taken ? 'active' : stateNow;
  const lockUntil = taken ? Number(processed) + taken.lockDuration : lock;
  const rest = more == null ? undefined : (JSON.parse(more) as Rest);
  const options: unknown = opts === '{}' ? {} : JSON.parse(opts as string);
  const job: JobData = {
    id: id as string,
    name: name as string,
    queueName: taken ? taken.queueName : (queue as string),
    data: JSON.parse(data as string),
    state: state as JobState,
    attemptsMade: Number(attemptsMade),
    progress: rest?.progress ?? 0,
    returnvalue: rest?.returnvalue ?? null,
    failedReason: rest?.failedReason ?? null,
    opts: isObject(options) ? (options as JobOptions) : {},
    deduplicationKey: rest?.deduplicationKey ?? null,
    logs: list<string>(rest?.logs),
    stacktrace: list<string>(rest?.stacktrace),
    createdAt: time(created) ?? new Date(0),
    processedAt: time(processed),
    completedAt: time(rest?.completedAt),
    failedAt: time(rest?.failedAt),
    delayUntil: time(rest?.delayUntil),
    lockUntil: time(lockUntil),
    cancelledAt: time(rest?.cancelledAt),
    lockedBy: taken ? taken.workerId : (by ?? null),
    parentId: rest?.parentId ?? null,
    parentQueueName: rest?.parentQueueName ?? null,
    pendingChildrenCount: rest?.pendingChildrenCount ?? 0,
    groupId: rest?.groupId ?? null,
    discarded: rest?.discarded ?? false,
    childrenIds: list<string>(rest?.childrenIds),
    attemptLogs: rest ? list<AttemptRecord>(rest.attemptLogs).filter(isObject) : [],
  };
  return {
    job,
    lease: Number(lease),
    seq: Number(seq),
    priority: Number(priority),
    scheduleKey: rest?.scheduleKey ?? null,
    childrenValues: isObject(rest?.childrenValues) ? rest.childrenValues : null,
    stalledCount: rest?.stalledCount ?? 0,
    damaged: damageOf(state, options, created, rest),
  };
}

export const isJobState = (value: unknown): value is JobState => (JOB_STATES as readonly unknown[]).includes(value);

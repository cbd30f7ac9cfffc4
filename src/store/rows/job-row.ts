import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { columns, type Row } from '../../db/statement.js';
import { type Jobs, literal } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { type AttemptRecord, JOB_STATES, type JobData, type JobOptions, type JobState } from '../../model/job.js';
import { reviveDates } from '../../model/options/repeat-options.js';
import { derivedRecord } from './derived-record.js';
import { fieldsWhere, JOB_FIELDS, type JobFieldName } from './job-fields.js';

/** A job with what the store keeps beside the public fields. */
export interface StoredJob {
  readonly job: JobData;
  readonly lease: number;
  readonly seq: number;
  readonly priority: number;
  readonly scheduleKey: string | null;
  readonly childrenValues: Record<string, unknown> | null;
  /** Of its payload, in characters of JSON text. */
  readonly payloadLength: number;
  /** How often its lease expired while its handler ran. */
  readonly stalledCount: number;
  /** The lease under which the start of its handler was recorded; 0: a lease expired before that; see `withoutRecord`. */
  readonly startedLease: number | null;
  /** Fields whose columns were changed by hand to what they cannot hold: the job is shown without them. */
  readonly damaged: readonly string[];
}

const CELLS = fieldsWhere(({ read }) => read === 'cell');
const DETAILS = fieldsWhere(({ read }) => read === 'detail');
/** How many columns `jobColumns` puts out: a statement may add its own behind them. */
export const JOB_COLUMN_COUNT = CELLS.length + 1;

/**
 * The output list that reads a job. What most jobs do not have travels in one JSON column that is null for them: a
 * claim of hundreds of jobs parses fifteen cells each, not thirty-five.
 */
export function jobColumns(j: Jobs): SQL {
  return columns(...CELLS.map((name) => readable(j, name)), details(j));
}

/** Fields that are the same for all jobs of a claim: its caller knows them, and passes them to `readJob`. */
const KNOWN_TO_CLAIMER: readonly JobFieldName[] = ['queueName', 'state', 'lockUntil', 'lockedBy'];

/** The same of a job that was just claimed, without the fields that its claimer knows. */
export function claimedColumns(j: Jobs): SQL {
  const cells = CELLS.map((name) => (KNOWN_TO_CLAIMER.includes(name) ? sql`null` : readable(j, name)));
  return columns(...cells, details(j));
}

const readable = (j: Jobs, name: JobFieldName): SQLWrapper =>
  JOB_FIELDS[name].type === 'time' ? epochMs(j[name]) : j[name];

function details(j: Jobs): SQL {
  const unset = DETAILS.map((name) => {
    const { absent } = JOB_FIELDS[name];
    return absent === 'null' ? sql`${j[name]} is null` : sql`${j[name]} = ${sql.raw(absent)}`;
  });
  const pairs = DETAILS.map((name) => sql`${literal(name)}, ${readable(j, name)}`);
  return sql`case when ${sql.join(unset, sql` and `)} then null else jsonb_build_object(${sql.join(pairs, sql`, `)}) end`;
}

type Details = Partial<Record<JobFieldName, unknown>>;

/** The last time that a `Date` can hold; a column changed by hand may be beyond it. */
const MAX_TIME = 8.64e15;
const time = (ms: unknown): Date | null =>
  ms == null || Math.abs(Number(ms)) > MAX_TIME ? null : new Date(Number(ms));
const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** A column changed by hand to something else must not break a whole page of jobs. */
const list = <T>(value: unknown): T[] => (Array.isArray(value) ? value : []);
const LISTS = DETAILS.filter((name) => JOB_FIELDS[name].absent === "'[]'::jsonb");

/** What is the same for all jobs that one claim takes. */
export interface Claim {
  readonly queueName: string;
  readonly workerId: string;
  /** ms. */
  readonly lockDuration: number;
}

/** @param claim for a row of `claimedColumns` */
export function readJob(row: Row, claim?: Claim): StoredJob {
  const [id, name, queue, data, opts, stored, attemptsMade, lease, seq, priority, created, processed, lock, by, more] =
    row as string[];
  const details = more == null ? undefined : (JSON.parse(more) as Details);
  const state = claim ? 'active' : stored;
  const options: unknown = opts === '{}' ? {} : JSON.parse(opts as string);
  if (isObject(options) && options['repeat'] !== undefined) reviveDates(options as JobOptions);
  const job: JobData = {
    id: id as string,
    name: name as string,
    queueName: claim ? claim.queueName : (queue as string),
    data: JSON.parse(data as string),
    state: state as JobState,
    attemptsMade: Number(attemptsMade),
    progress: 0,
    returnvalue: null,
    failedReason: null,
    opts: isObject(options) ? (options as JobOptions) : {},
    deduplicationKey: null,
    logs: [],
    stacktrace: [],
    createdAt: time(created) ?? new Date(0),
    processedAt: time(processed),
    completedAt: null,
    failedAt: null,
    delayUntil: null,
    lockUntil: time(claim ? Number(processed) + claim.lockDuration : lock),
    cancelledAt: null,
    lockedBy: claim ? claim.workerId : (by ?? null),
    parentId: null,
    parentQueueName: null,
    pendingChildrenCount: 0,
    groupId: null,
    discarded: false,
    childrenIds: [],
    attemptLogs: [],
  };
  const startedLease = (details?.startedLease ?? null) as number | null;
  if (details) readDetails(job, details);
  // An empty list, and not one that was changed by hand to something else.
  if (state === 'completed' && Array.isArray(details?.attemptLogs) && details.attemptLogs.length === 0) {
    job.attemptLogs = derivedRecord(job, Number(lease), startedLease);
  }
  return {
    job,
    lease: Number(lease),
    seq: Number(seq),
    priority: Number(priority),
    payloadLength: (data as string).length,
    scheduleKey: (details?.scheduleKey ?? null) as string | null,
    childrenValues: isObject(details?.childrenValues) ? details.childrenValues : null,
    stalledCount: (details?.stalledCount ?? 0) as number,
    startedLease,
    damaged: damageOf(state, options, created, details),
  };
}

/** Details that are kept beside the job. */
const INTERNAL_DETAILS: readonly JobFieldName[] = ['scheduleKey', 'childrenValues', 'stalledCount', 'startedLease'];
const PUBLIC_DETAILS = DETAILS.filter((name) => !INTERNAL_DETAILS.includes(name));

function readDetails(job: JobData, details: Details): void {
  const fields = job as unknown as Record<JobFieldName, unknown>;
  for (const name of PUBLIC_DETAILS) {
    const value = details[name];
    if (LISTS.includes(name)) fields[name] = list(value);
    else fields[name] = JOB_FIELDS[name].type === 'time' ? time(value) : value;
  }
  job.attemptLogs = job.attemptLogs.filter(isObject) as AttemptRecord[];
}

const NONE: readonly string[] = [];

/** Fields whose stored values are invalid: `readJob` replaced them or returned them unchanged. */
function damageOf(state: unknown, opts: unknown, created: unknown, details: Details | undefined): readonly string[] {
  const damaged: string[] = [];
  if (!isJobState(state)) damaged.push('state');
  if (!isObject(opts)) damaged.push('opts');
  if (time(created) === null) damaged.push('createdAt');
  if (details) {
    damaged.push(...LISTS.filter((name) => !Array.isArray(details[name])));
    if (!list(details.attemptLogs).every(isObject)) damaged.push('attemptLogs');
    if (details.childrenValues !== null && !isObject(details.childrenValues)) damaged.push('childrenValues');
  }
  return damaged.length === 0 ? NONE : damaged;
}

export const isJobState = (value: unknown): value is JobState => (JOB_STATES as readonly unknown[]).includes(value);

import type { Row } from '../../db/statement.js';
import { type AttemptRecord, JOB_STATES, type JobData, type JobOptions, type JobState } from '../../model/job.js';
import { reviveDates } from '../../model/options/repeat-options.js';
import { derivedRecord } from './derived-record.js';
import { fieldsWhere, JOB_FIELDS, type JobFieldName } from './job-fields.js';

/** What is the same for all jobs that one claim takes. */
export interface Claim {
  readonly queueName: string;
  readonly workerId: string;
  /** ms. */
  readonly lockDuration: number;
}

const DETAILS = fieldsWhere(({ read }) => read === 'detail');
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

const NO_OPTIONS: JobOptions = Object.freeze({});
const NONE: readonly string[] = [];

export const isJobState = (value: unknown): value is JobState => (JOB_STATES as readonly unknown[]).includes(value);

/**
 * A job as it was read, with what the store keeps beside the public fields. The row stays as it came: a worker that
 * claims hundreds of jobs makes of each only what somebody looks at.
 */
export class StoredJob {
  readonly id: string;
  readonly queueName: string;
  readonly lease: number;
  readonly seq: number;
  readonly priority: number;
  /** How often its lease expired while its handler ran. */
  readonly stalledCount: number;
  /** The lease under which the start of its handler was recorded; 0: a lease expired before that; see `withoutRecord`. */
  readonly startedLease: number | null;
  /** Where its row was when it was claimed, as Postgres writes a `ctid`. */
  readonly place: string | undefined;
  readonly #row: readonly string[];
  readonly #claim: Claim | undefined;
  readonly #details: Details | undefined;
  #data: unknown;
  #opts: JobOptions | undefined;
  #job: JobData | undefined;

  /** @param row of `jobColumns`, or with a claim of `claimedColumns` */
  constructor(row: Row, claim?: Claim) {
    const cells = row as string[];
    this.#row = cells;
    this.#claim = claim;
    const [id, , queue, , , , , lease, seq, priority, , , , , more, place] = cells;
    const details = more == null ? undefined : (JSON.parse(more) as Details);
    this.#details = details;
    this.id = id as string;
    this.queueName = claim ? claim.queueName : (queue as string);
    this.lease = Number(lease);
    this.seq = Number(seq);
    this.priority = Number(priority);
    this.stalledCount = details ? (details.stalledCount as number) : 0;
    this.startedLease = details ? (details.startedLease as number | null) : null;
    this.place = claim ? place : undefined;
  }

  get name(): string {
    return this.#row[1] as string;
  }

  get attemptsMade(): number {
    return Number(this.#row[6]);
  }

  /** Its payload; the same object as `job.data`. */
  get data(): unknown {
    if (this.#job) return this.#job.data;
    this.#data ??= JSON.parse(this.#row[3] as string);
    return this.#data;
  }

  /** Of its payload, in characters of JSON text. */
  get payloadLength(): number {
    return (this.#row[3] as string).length;
  }

  /** Not to be changed. */
  get opts(): JobOptions {
    this.#opts ??= this.#row[4] === '{}' ? NO_OPTIONS : readOptions(this.#row[4]);
    return this.#opts;
  }

  /** Epoch ms; undefined when it was not claimed. */
  get processedMs(): number | undefined {
    const processed = this.#row[11];
    return processed == null ? undefined : Number(processed);
  }

  get isCancelled(): boolean {
    return this.#details?.cancelledAt != null;
  }

  get hasParent(): boolean {
    return this.#details?.parentId != null;
  }

  get isDiscarded(): boolean {
    return this.#details?.discarded === true;
  }

  get scheduleKey(): string | null {
    return (this.#details?.scheduleKey ?? null) as string | null;
  }

  get childrenValues(): Record<string, unknown> | null {
    const values = this.#details?.childrenValues;
    return isObject(values) ? values : null;
  }

  /** The public fields. Each call returns the same object. */
  get job(): JobData {
    this.#job ??= this.#read();
    return this.#job;
  }

  /** Fields whose columns were changed by hand to what they cannot hold: the job is shown without them. */
  get damaged(): readonly string[] {
    const damaged: string[] = [];
    const details = this.#details;
    if (!this.#claim && !isJobState(this.#row[5])) damaged.push('state');
    if (!isObject(JSON.parse(this.#row[4] as string))) damaged.push('opts');
    if (time(this.#row[10]) === null) damaged.push('createdAt');
    if (details) {
      damaged.push(...LISTS.filter((name) => !Array.isArray(details[name])));
      if (!list(details.attemptLogs).every(isObject)) damaged.push('attemptLogs');
      if (details.childrenValues !== null && !isObject(details.childrenValues)) damaged.push('childrenValues');
    }
    return damaged.length === 0 ? NONE : damaged;
  }

  #read(): JobData {
    const [, , , , opts, state, , , , , created, processed, lock, by] = this.#row;
    const claim = this.#claim;
    const job: JobData = {
      id: this.id,
      name: this.name,
      queueName: this.queueName,
      data: this.data,
      state: claim ? 'active' : (state as JobState),
      attemptsMade: this.attemptsMade,
      progress: 0,
      returnvalue: null,
      failedReason: null,
      opts: opts === '{}' ? {} : this.opts,
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
    if (this.#details) this.#readDetails(job, this.#details);
    return job;
  }

  #readDetails(job: JobData, details: Details): void {
    readDetails(job, details);
    // An empty list, and not one that was changed by hand to something else.
    if (job.state === 'completed' && Array.isArray(details.attemptLogs) && details.attemptLogs.length === 0) {
      job.attemptLogs = derivedRecord(job, this.lease, this.startedLease);
    }
  }
}

function readOptions(text: string | undefined): JobOptions {
  const options: unknown = JSON.parse(text as string);
  if (!isObject(options)) return NO_OPTIONS;
  if (options['repeat'] !== undefined) reviveDates(options as JobOptions);
  return options as JobOptions;
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

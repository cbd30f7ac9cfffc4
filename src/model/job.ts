/** The six states of a job; the last two are terminal. */
export const JOB_STATES = ['waiting', 'waiting-children', 'delayed', 'active', 'completed', 'failed'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** A duration: milliseconds, or a number and a unit such as `'5s'`, `'10 minutes'`, `'1 day'`. */
export type Duration = number | string;

/** A custom backoff: receives the number of failed attempts and the last error, returns the pause: ms, or a duration. */
export type BackoffStrategy = (attemptsMade: number, error?: unknown) => Duration | Promise<Duration>;

export interface BackoffOptions {
  /** `fixed`: `delay` each time. `exponential`: doubles per attempt from `delay`, at most 24 h. */
  type: 'fixed' | 'exponential' | 'custom';
  /** Base delay in ms, or a duration. */
  delay: Duration;
  /** By which share each delay varies either way, 0 to 1. Default 0.25 for `exponential`, 0 for the other types. */
  jitter?: number;
  /** Only for `custom`. A function cannot be stored: give workers the same one as `backoffStrategy`. */
  customStrategy?: BackoffStrategy;
}

/** What a tick does while earlier jobs of its schedule have not ended; see `RepeatOptions.overlap`. */
export type OverlapPolicy = 'skip' | 'queue' | 'all';

/**
 * A schedule: when its ticks are. Each tick has one job; the job of the next tick exists ahead, as `delayed`.
 *
 * The other options of `add` apply to each job of the schedule, `attempts`, `backoff`, `priority`, `lifo`, `timeout`,
 * `removeOnComplete`, `removeOnFail` and `group.id` among them. Some mean something else in a schedule:
 *
 * - `deduplication` is left out: the schedule itself makes its jobs unique.
 * - `group.maxSize` is left out: a tick is not refused. The schedule's jobs count in their group for other jobs.
 * - `jobId` names the first job only, and not if another job has that id already.
 * - `delay` is refused, and left out of default options: use `startDate`.
 * - `failParentOnChildFailure` has no effect, because a job of a schedule has no children; `FlowProducer` refuses
 *   `repeat`.
 */
export interface RepeatOptions {
  /** A cron expression of 5, 6 or 7 fields; it runs at its ticks only. Exactly one of `cron` and `every`. */
  cron?: string;
  /** An interval: ms, or a duration. It runs at once, or at `startDate`, and then each interval. */
  every?: Duration;
  /**
   * Repetitions after the first run: `limit: 2` makes three runs, `limit: 0` one. Ticks that `overlap` skips, and ticks
   * missed while no worker ran, are not counted. Default: no limit.
   */
  limit?: number;
  /** No tick before this time, by the database's clock. */
  startDate?: Date | string | number;
  /** No tick after this time, by the database's clock. */
  endDate?: Date | string | number;
  /** IANA time zone of a cron expression. Default `UTC`. */
  tz?: string;
  /** The schedule's identity within its queue. Default: derived from name, schedule and data. */
  key?: string;
  /**
   * What a tick does while earlier jobs of the schedule have not ended, because they run long, wait for their next
   * attempt, or the queue is paused. Default `skip`.
   *
   * - `skip`: while any of them has not ended, no other becomes waiting; the tick is passed over.
   * - `queue`: one may wait behind one that runs or waits for its next attempt; further ticks are passed over.
   * - `all`: every tick has its run, however many wait.
   *
   * It decides about ticks. Jobs that are promoted or retried by hand are not held back.
   */
  overlap?: OverlapPolicy;
}

export interface DeduplicationOptions {
  /** At most one live job of the queue has this key. 1 to 255 characters. */
  key?: string;
  /** Derive the key from the job's name and data. */
  hash?: boolean;
  /** After the job's creation, ms or a duration, until it loses the key. Default: when the job ends. Stored as ms. */
  ttl?: Duration;
}

/** How long, and how many, ended jobs of a queue are kept. At least one of the two; a job goes by whichever comes first. */
export interface Retention {
  /** Deleted this long after its end: ms, or a duration. Stored as ms. */
  age?: Duration;
  /**
   * The newest so many jobs of the queue in that state are kept, and older ones that have a `count` are deleted, within
   * about a minute. The limit is that of the newest ended job that has one. 0 deletes at once. At most 1,000,000.
   */
  count?: number;
}

export interface GroupOptions {
  /** 1 to 255 characters. */
  id: string;
  /** `add` is refused when this many jobs of the group are waiting or delayed already. */
  maxSize?: number;
}

/** What becomes of a parent when one of its children fails, is removed or is cancelled. */
export type ChildFailurePolicy = 'fail' | 'ignore' | 'remove';

/** Options of a job, as given to `add`. */
export interface JobOptions {
  /** How often the job is tried in all. Default 1. */
  attempts?: number;
  backoff?: BackoffOptions;
  /** Pause before the first attempt: ms, or a duration. */
  delay?: Duration;
  repeat?: RepeatOptions;
  /** Lower goes first. Default 0. */
  priority?: number;
  /** Put this job in front of its priority. */
  lifo?: boolean;
  deduplication?: DeduplicationOptions;
  /**
   * What becomes of the job when it has completed. `true`: deleted at once; `{ age, count }`: kept so long, and among so
   * many; `false`, the default: kept. A number is an age in ms, not a count: `1000` keeps the job for a second.
   */
  removeOnComplete?: boolean | Duration | Retention;
  /** The same for a job that has failed for good. */
  removeOnFail?: boolean | Duration | Retention;
  /** Time limit of each attempt: ms, or a duration, from 1 ms to 24.8 days. Stored as ms. */
  timeout?: Duration;
  /** The caller's own id, 1 to 255 characters. Adding an id that exists returns the existing job. */
  jobId?: string;
  /** On a parent; default `fail`. */
  failParentOnChildFailure?: ChildFailurePolicy;
  group?: GroupOptions;
}

/** One ended attempt of a job. */
export interface AttemptRecord {
  /** Counts from 1. */
  attempt: number;
  /** ISO 8601. */
  startedAt: string;
  endedAt: string | null;
  status: 'completed' | 'failed';
  error: string | null;
  stacktrace: string | null;
  /** The lines logged during this attempt. */
  logs: string[];
}

/** A job as a store reads and writes it. */
export interface JobData<T = unknown> {
  id: string;
  name: string;
  queueName: string;
  data: T;
  state: JobState;
  /** Attempts that ended in failure; 0 while the first one runs. */
  attemptsMade: number;
  /** 0 to 100. */
  progress: number;
  /** What the handler returned; null until the job has completed. */
  returnvalue: unknown;
  /** Message of the last failure. */
  failedReason: string | null;
  opts: JobOptions;
  /** At most one live job of a queue has this key. */
  deduplicationKey: string | null;
  /** Lines logged by the handler, oldest first. */
  logs: string[];
  /** One per failed attempt, oldest first: its stack trace, or its reason if nothing with a stack was thrown. The newest 100. */
  stacktrace: string[];
  createdAt: Date;
  /** Start of the latest attempt. */
  processedAt: Date | null;
  completedAt: Date | null;
  failedAt: Date | null;
  /** When a delayed job is due. */
  delayUntil: Date | null;
  /** When the lease of an active job runs out; another worker may run the job afterwards. */
  lockUntil: Date | null;
  /** When cancellation of the active job was requested. */
  cancelledAt: Date | null;
  /** Id of the worker that holds the lease. */
  lockedBy: string | null;
  parentId: string | null;
  parentQueueName: string | null;
  /** Children that a parent still waits for. */
  pendingChildrenCount: number;
  groupId: string | null;
  /** No more retries. */
  discarded: boolean;
  /** Ids of a parent's children, written when the flow is added. */
  childrenIds: string[];
  /** One record per ended attempt, oldest first. */
  attemptLogs: AttemptRecord[];
}

/** A job to be saved: `createJobData` makes one; a store fills in the id when there is none. */
export type NewJobData<T = unknown> = Omit<JobData<T>, 'id'> & { id?: string };

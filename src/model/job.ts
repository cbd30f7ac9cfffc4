/** The six states of a job; the last two are terminal. */
export const JOB_STATES = ['waiting', 'waiting-children', 'delayed', 'active', 'completed', 'failed'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** A duration: milliseconds, or a number and a unit such as `'5s'`, `'10 minutes'`, `'1 day'`. */
export type Duration = number | string;

/** A custom backoff: receives the number of failed attempts and the last error, returns the pause in ms. */
export type BackoffStrategy = (attemptsMade: number, error?: unknown) => number | Promise<number>;

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

export interface RepeatOptions {
  /** A cron expression of 5, 6 or 7 fields. Exactly one of `cron` and `every`. */
  cron?: string;
  /** An interval: ms, or a duration. */
  every?: Duration;
  /** Repetitions after the first run. Default: no limit. */
  limit?: number;
  /** No tick before this time. */
  startDate?: Date | string | number;
  /** No tick after this time. */
  endDate?: Date | string | number;
  /** IANA time zone of a cron expression. Default `UTC`. */
  tz?: string;
  /** The schedule's identity within its queue. Default: derived from name, schedule and data. */
  key?: string;
}

export interface DeduplicationOptions {
  /** At most one live job of the queue has this key. 1 to 255 characters. */
  key?: string;
  /** Derive the key from the job's name and data. */
  hash?: boolean;
  /** ms after the job's creation until it loses the key. Default: when the job ends. */
  ttl?: number;
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
  /** `true`: delete on success at once; a number: after that many ms. */
  removeOnComplete?: boolean | number;
  /** `true`: delete on final failure at once; a number: after that many ms. */
  removeOnFail?: boolean | number;
  /** ms per attempt. */
  timeout?: number;
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

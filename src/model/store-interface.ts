import type { StoreEvent, StoreEventCallback } from './event.js';
import type { Duration, JobData, JobState, NewJobData } from './job.js';

export interface UpdateJobOptions {
  /** Fail with `InvalidJobStateError` unless the job is in this state, or one of these. */
  expectedState?: JobState | JobState[];
}

export interface RateLimit {
  /** Successful fetches in any window of `duration` ms. */
  max: number;
  /** ms, or a duration. */
  duration: Duration;
}

/** The same after its check. */
export interface ResolvedRateLimit {
  readonly max: number;
  /** ms. */
  readonly duration: number;
}

/** Filters and limits of a fetch. Limits hold over all workers. */
export interface FetchOptions {
  /** Newest first inside a priority. */
  lifo?: boolean;
  /** Only jobs of this name. */
  jobName?: string;
  /** Active jobs per group, over all workers. */
  groupConcurrency?: number;
  /** Groups that nothing is fetched from. */
  excludeGroups?: string[];
  /** Counts this fetch, and refuses it when the window is full. */
  rateLimit?: RateLimit;
}

/** Number of jobs in each state. */
export type JobCounts = Record<JobState, number>;

/** A queue as `listQueues` describes it. */
export interface QueueInfo {
  name: string;
  counts: JobCounts;
  /** All of the queue is paused (`__all__`). */
  isPaused: boolean;
  /** When a job was last created, started or finished. */
  latestActivity: Date | null;
  /** Live jobs of repeating schedules. */
  scheduledCount: number;
}

/** What `searchJobs` looks for; every field that is given must match. Dates are inclusive. */
export interface SearchFilter {
  queueName?: string;
  states?: JobState[];
  /** Case-insensitive substring of the job's name. */
  name?: string;
  createdAfter?: Date;
  createdBefore?: Date;
}

/** Which buckets to read: those that begin between `from` and `to`, both included. */
export interface MetricsQuery {
  granularity: 'minute' | 'hour';
  from: Date;
  to: Date;
}

/** The finished jobs of one name in one minute or hour; `jobName` is `__all__` in the totals of the queue. */
export interface MetricsBucket {
  queueName: string;
  jobName: string;
  granularity: 'minute' | 'hour';
  /** Start of the minute or hour, in UTC. */
  periodStart: Date;
  completedCount: number;
  failedCount: number;
  /** ms, of completed and failed jobs together. */
  totalProcessMs: number;
  minProcessMs: number | null;
  maxProcessMs: number | null;
}

/** The contract that every Conveyor store fulfils and the original core is written against. */
export interface StoreInterface {
  /**
   * Opens the connections and brings the tables up to date. Calling it twice is harmless. @throws ConnectionError,
   * SchemaError
   */
  connect(): Promise<void>;
  /** Ends the connections that the store opened, and all subscriptions; never closes the app's own client. */
  disconnect(): Promise<void>;
  /**
   * Inserts a job and returns its id. If a live job holds the same deduplication key, returns the id of that job and
   * inserts nothing.
   */
  saveJob(queueName: string, job: NewJobData): Promise<string>;
  /** `saveJob` for many jobs, all or nothing; returns their ids in the order given. */
  saveBulk(queueName: string, jobs: NewJobData[]): Promise<string[]>;
  /** The job, or null. */
  getJob(queueName: string, jobId: string): Promise<JobData | null>;
  /**
   * Writes the given fields. A missing job is not an error. @throws InvalidJobStateError if `expectedState` does not
   * match
   */
  updateJob(queueName: string, jobId: string, updates: Partial<JobData>, options?: UpdateJobOptions): Promise<void>;
  /** Deletes the job in any state. A missing job is not an error. */
  removeJob(queueName: string, jobId: string): Promise<void>;
  /** The live job that holds the key, or null. */
  findByDeduplicationKey(queueName: string, key: string): Promise<JobData | null>;
  /** The job with this id in any queue, or null. */
  findJobById(jobId: string): Promise<JobData | null>;
  /**
   * Makes the next waiting job active and returns it, or null. No two callers get the same job. `lockDuration` in
   * ms.
   */
  fetchNextJob(
    queueName: string,
    workerId: string,
    lockDuration: Duration,
    options?: FetchOptions,
  ): Promise<JobData | null>;
  /** Renews the lock of an active job for `duration` ms from now; false if the job is not active. */
  extendLock(queueName: string, jobId: string, duration: Duration): Promise<boolean>;
  /** Clears `lockUntil` and `lockedBy`; the state stays. */
  releaseLock(queueName: string, jobId: string): Promise<void>;
  /** Active jobs of the queue. */
  getActiveCount(queueName: string): Promise<number>;
  /** Active jobs of the group. */
  getGroupActiveCount(queueName: string, groupId: string): Promise<number>;
  /** Waiting jobs of the group. */
  getWaitingGroupCount(queueName: string, groupId: string): Promise<number>;
  /**
   * Active jobs whose lock has expired; changes nothing. `stalledThreshold` is part of the contract and not used.
   */
  getStalledJobs(queueName: string, stalledThreshold: number): Promise<JobData[]>;
  /** When the next delayed job is due, in ms since the epoch; null if none is delayed. */
  getNextDelayedTimestamp(queueName: string): Promise<number | null>;
  /**
   * Makes the delayed jobs that are due at `timestamp` (ms since the epoch) waiting; returns their number. Jobs of the
   * next ticks of schedules become waiting with their schedules.
   */
  promoteDelayedJobs(queueName: string, timestamp: number): Promise<number>;
  /** Makes all delayed jobs waiting; returns their number. */
  promoteJobs(queueName: string): Promise<number>;
  /**
   * Deletes jobs that have been in `state` for more than `grace` ms; returns their number. Never an active job with
   * a live lock.
   */
  clean(queueName: string, state: JobState, grace: Duration): Promise<number>;
  /** Deletes the jobs that are waiting, delayed or waiting for children. */
  drain(queueName: string): Promise<void>;
  /** Deletes everything of the queue. @throws ConveyorError if jobs are active, unless `force` is set */
  obliterate(queueName: string, options?: { force?: boolean }): Promise<void>;
  /** Makes finished jobs waiting again with all their attempts; returns their number. */
  retryJobs(queueName: string, state: 'failed' | 'completed'): Promise<number>;
  /** No job of this name is fetched until it is resumed; `__all__` pauses the queue. */
  pauseJobName(queueName: string, jobName: string): Promise<void>;
  /** Undoes `pauseJobName`. */
  resumeJobName(queueName: string, jobName: string): Promise<void>;
  /** The names that are paused; `__all__` stands for the whole queue. */
  getPausedJobNames(queueName: string): Promise<string[]>;
  /**
   * Jobs `start` (default 0) up to, not including, `end` (default 100): finished ones latest first, others oldest
   * first.
   */
  listJobs(queueName: string, state: JobState, start?: number, end?: number): Promise<JobData[]>;
  /** Jobs of the queue in this state. */
  countJobs(queueName: string, state: JobState): Promise<number>;
  /** Jobs of the queue in each of the six states. */
  getJobCounts(queueName: string): Promise<JobCounts>;
  /** Every queue that has jobs. */
  listQueues(): Promise<QueueInfo[]>;
  /** Jobs whose name contains `text` in any case, newest first; `limit` defaults to 50. */
  searchByName(text: string, queueName?: string, limit?: number): Promise<JobData[]>;
  /** Jobs whose payload contains `text` in any case, newest first; `limit` defaults to 50. */
  searchByPayload(queueName: string, text: string, limit?: number): Promise<JobData[]>;
  /**
   * Jobs `start` (default 0) up to, not including, `end` (default 50) of those that match, newest first, and how
   * many match in all.
   */
  searchJobs(filter: SearchFilter, start?: number, end?: number): Promise<{ jobs: JobData[]; total: number }>;
  /** Jobs that have children, newest first; `limit` defaults to 100. */
  listFlowParents(state?: JobState, limit?: number): Promise<JobData[]>;
  /**
   * Requests that an active job be cancelled: sets `cancelledAt` and announces it. False if the job is not active.
   */
  cancelJob(queueName: string, jobId: string): Promise<boolean>;
  /** Inserts jobs of any queues in one transaction; returns their ids in the order given. */
  saveFlow(jobs: { queueName: string; job: NewJobData }[]): Promise<string[]>;
  /**
   * Counts one of the parent's children as completed; the last one makes it waiting. Returns the state of the
   * parent.
   */
  notifyChildCompleted(parentQueueName: string, parentId: string): Promise<JobState>;
  /** Fails a parent that waits for children; false if it does not wait. */
  failParentOnChildFailure(parentQueueName: string, parentId: string, reason: string): Promise<boolean>;
  /** The children of a job, in whichever queues, oldest first. */
  getChildrenJobs(parentQueueName: string, parentId: string): Promise<JobData[]>;
  /** Calls back for every event of the queue, from this process at once and from others through LISTEN. */
  subscribe(queueName: string, callback: StoreEventCallback): void;
  /** Removes one callback; without `callback`, all of the queue. */
  unsubscribe(queueName: string, callback?: StoreEventCallback): void;
  /** Announces an event; resolves when the callbacks of this process have run. */
  publish(event: StoreEvent): Promise<void>;
  /** The buckets of the queue between two times, both included, in order. @throws MetricsDisabledError */
  getMetrics(queueName: string, query: MetricsQuery): Promise<MetricsBucket[]>;
  /** Sums minutes into hours and deletes what is older than the retention. @throws MetricsDisabledError */
  aggregateMetrics(): Promise<void>;
}

import type { StoreEvent, StoreEventCallback } from './event.js';
import type { JobData, JobState, NewJobData } from './job.js';

export interface UpdateJobOptions {
  /** Fail with `InvalidJobStateError` unless the job is in this state, or one of these. */
  expectedState?: JobState | JobState[];
}

export interface RateLimit {
  /** Successful fetches in any window of `duration` ms. */
  max: number;
  /** ms. */
  duration: number;
}

export interface FetchOptions {
  /** Newest first inside a priority. */
  lifo?: boolean;
  jobName?: string;
  /** Active jobs per group, over all workers. */
  groupConcurrency?: number;
  excludeGroups?: string[];
  rateLimit?: RateLimit;
}

export type JobCounts = Record<JobState, number>;

export interface QueueInfo {
  name: string;
  counts: JobCounts;
  /** All of the queue is paused (`__all__`). */
  isPaused: boolean;
  latestActivity: Date | null;
  /** Live jobs of repeating schedules. */
  scheduledCount: number;
}

export interface SearchFilter {
  queueName?: string;
  states?: JobState[];
  /** Case-insensitive substring of the job's name. */
  name?: string;
  createdAfter?: Date;
  createdBefore?: Date;
}

export interface MetricsQuery {
  granularity: 'minute' | 'hour';
  from: Date;
  to: Date;
}

export interface MetricsBucket {
  queueName: string;
  jobName: string;
  granularity: 'minute' | 'hour';
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
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  saveJob(queueName: string, job: NewJobData): Promise<string>;
  saveBulk(queueName: string, jobs: NewJobData[]): Promise<string[]>;
  getJob(queueName: string, jobId: string): Promise<JobData | null>;
  updateJob(queueName: string, jobId: string, updates: Partial<JobData>, options?: UpdateJobOptions): Promise<void>;
  removeJob(queueName: string, jobId: string): Promise<void>;
  findByDeduplicationKey(queueName: string, key: string): Promise<JobData | null>;
  findJobById(jobId: string): Promise<JobData | null>;
  fetchNextJob(
    queueName: string,
    workerId: string,
    lockDuration: number,
    options?: FetchOptions,
  ): Promise<JobData | null>;
  extendLock(queueName: string, jobId: string, duration: number): Promise<boolean>;
  releaseLock(queueName: string, jobId: string): Promise<void>;
  getActiveCount(queueName: string): Promise<number>;
  getGroupActiveCount(queueName: string, groupId: string): Promise<number>;
  getWaitingGroupCount(queueName: string, groupId: string): Promise<number>;
  getStalledJobs(queueName: string, stalledThreshold: number): Promise<JobData[]>;
  getNextDelayedTimestamp(queueName: string): Promise<number | null>;
  promoteDelayedJobs(queueName: string, timestamp: number): Promise<number>;
  promoteJobs(queueName: string): Promise<number>;
  clean(queueName: string, state: JobState, grace: number): Promise<number>;
  drain(queueName: string): Promise<void>;
  obliterate(queueName: string, options?: { force?: boolean }): Promise<void>;
  retryJobs(queueName: string, state: 'failed' | 'completed'): Promise<number>;
  pauseJobName(queueName: string, jobName: string): Promise<void>;
  resumeJobName(queueName: string, jobName: string): Promise<void>;
  getPausedJobNames(queueName: string): Promise<string[]>;
  listJobs(queueName: string, state: JobState, start?: number, end?: number): Promise<JobData[]>;
  countJobs(queueName: string, state: JobState): Promise<number>;
  getJobCounts(queueName: string): Promise<JobCounts>;
  listQueues(): Promise<QueueInfo[]>;
  searchByName(text: string, queueName?: string, limit?: number): Promise<JobData[]>;
  searchByPayload(queueName: string, text: string, limit?: number): Promise<JobData[]>;
  searchJobs(filter: SearchFilter, start?: number, end?: number): Promise<{ jobs: JobData[]; total: number }>;
  listFlowParents(state?: JobState, limit?: number): Promise<JobData[]>;
  cancelJob(queueName: string, jobId: string): Promise<boolean>;
  saveFlow(jobs: { queueName: string; job: NewJobData }[]): Promise<string[]>;
  notifyChildCompleted(parentQueueName: string, parentId: string): Promise<JobState>;
  failParentOnChildFailure(parentQueueName: string, parentId: string, reason: string): Promise<boolean>;
  getChildrenJobs(parentQueueName: string, parentId: string): Promise<JobData[]>;
  subscribe(queueName: string, callback: StoreEventCallback): void;
  unsubscribe(queueName: string, callback?: StoreEventCallback): void;
  publish(event: StoreEvent): Promise<void>;
  getMetrics(queueName: string, query: MetricsQuery): Promise<MetricsBucket[]>;
  aggregateMetrics(): Promise<void>;
}

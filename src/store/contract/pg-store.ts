import type { StoreEvent, StoreEventCallback } from '../../model/event.js';
import type { Duration, JobData, JobState, NewJobData } from '../../model/job.js';
import { durationIn, MAX_TIMER_MS } from '../../model/options/duration.js';
import { assertJobState, validateName, validateQueueName } from '../../model/options/names.js';
import type {
  FetchOptions,
  JobCounts,
  MetricsBucket,
  MetricsQuery,
  QueueInfo,
  SearchFilter,
  StoreInterface,
  UpdateJobOptions,
} from '../../model/store-interface.js';
import type { VerifyOptions, Violation } from '../../model/violation.js';
import { promoteAll, promoteDue } from '../change/promote.js';
import { retryJobs } from '../change/retry-jobs.js';
import { claimJobs } from '../claim/dispatch.js';
import { announceParents, DUE_NOW } from '../events/announce.js';
import { aggregateMetrics } from '../metrics/fold.js';
import { countByState, countGroupActive, countGroupWaiting, countStates, nextDelayed } from '../read/count.js';
import { findByDeduplicationKey, findJobById, getChildrenJobs, getJob } from '../read/find.js';
import { listFlowParents, listJobs, stalledJobs } from '../read/list.js';
import { readMetrics, requireMetrics } from '../read/metrics.js';
import { getPausedNames, pauseName, resumeName } from '../read/pauses.js';
import { listQueues } from '../read/queues.js';
import { searchByName, searchByPayload, searchJobs } from '../read/search.js';
import { verify } from '../read/verify/verify.js';
import { clean } from '../remove/clean.js';
import { truncateAll } from '../remove/delete-expired.js';
import { drain } from '../remove/drain.js';
import { obliterate } from '../remove/obliterate.js';
import { Engine } from '../runtime/engine.js';
import { type PgStoreOptions, resolveOptions } from '../runtime/options.js';
import { cancelActive, failParent, notifyChildCompleted } from './core-steps.js';
import { DamagedRows } from './damaged-rows.js';
import { LeaseMemory } from './lease-memory.js';
import { saveJobs, saveTree } from './save.js';
import { extendLock, releaseLock, removeFenced, updateJob } from './update.js';

/**
 * Conveyor's store on Postgres 12 or later. It opens nothing before `connect()`.
 *
 * Every method rejects with `ConnectionError` when the server cannot be reached or does not answer in time, and with
 * a `TypeError`, `RangeError` or `InvalidPayloadError` for bad input, before any SQL.
 */
export class PgStore implements StoreInterface {
  /** The verbs beneath `StoreInterface`, for this package's own core. @internal */
  readonly engine: Engine;
  readonly #leases = new LeaseMemory();
  readonly #damagedRows: DamagedRows;

  constructor(options: PgStoreOptions) {
    this.engine = new Engine(resolveOptions(options));
    this.#damagedRows = new DamagedRows(this.engine.options.logger);
  }

  connect(): Promise<void> {
    return this.engine.connect();
  }

  /**
   * First has the store's workers stop as `Worker.close()` does, which waits up to 25 s for the jobs that run; then
   * closes all connections that the store has opened. Its workers go on when it is connected again.
   */
  disconnect(): Promise<void> {
    return this.engine.disconnect();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** Empties every conveyor table but the migrations: for tests. */
  async truncateAll(): Promise<void> {
    await truncateAll(this.#executor);
    this.#leases.clear();
  }

  /**
   * Rows that contradict what always holds between the store's statements; none, unless they were changed by hand or this
   * package has a fault. It reads every table as a whole, and changes nothing: for tests, and after a restore.
   */
  async verify(options: VerifyOptions = {}): Promise<Violation[]> {
    return verify(this.#executor, options);
  }

  get #executor() {
    return this.engine.executor;
  }

  async saveJob(queueName: string, job: NewJobData): Promise<string> {
    return (await saveJobs(this.engine, [{ queueName, job }]))[0] as string;
  }

  async saveBulk(queueName: string, jobs: NewJobData[]): Promise<string[]> {
    return saveJobs(
      this.engine,
      jobs.map((job) => ({ queueName, job })),
    );
  }

  async getJob(queueName: string, jobId: string): Promise<JobData | null> {
    return this.#damagedRows.read(await getJob(this.#executor, queueName, jobId));
  }

  async updateJob(
    queueName: string,
    jobId: string,
    updates: Partial<JobData>,
    options: UpdateJobOptions = {},
  ): Promise<void> {
    await updateJob(this.engine, this.#leases, queueName, jobId, updates, options);
  }

  async removeJob(queueName: string, jobId: string): Promise<void> {
    await removeFenced(this.#executor, this.#leases, queueName, jobId);
  }

  async findByDeduplicationKey(queueName: string, key: string): Promise<JobData | null> {
    return this.#damagedRows.read(await findByDeduplicationKey(this.#executor, queueName, key));
  }

  async findJobById(jobId: string): Promise<JobData | null> {
    return this.#damagedRows.read(await findJobById(this.#executor, jobId));
  }

  async fetchNextJob(
    queueName: string,
    workerId: string,
    lockDuration: Duration,
    options: FetchOptions = {},
  ): Promise<JobData | null> {
    const lockMs = durationIn(lockDuration, 'lockDuration', 1, MAX_TIMER_MS);
    const [claimed] = await claimJobs(this.engine, { ...options, queueName, workerId, lockDuration: lockMs, limit: 1 });
    if (!claimed) return null;
    this.#leases.claimed(queueName, claimed.job.id, claimed.lease);
    return this.#damagedRows.read(claimed);
  }

  async extendLock(queueName: string, jobId: string, duration: Duration): Promise<boolean> {
    const ms = durationIn(duration, 'duration', 1, MAX_TIMER_MS);
    return extendLock(this.#executor, this.#leases, queueName, jobId, ms);
  }

  async releaseLock(queueName: string, jobId: string): Promise<void> {
    return releaseLock(this.#executor, this.#leases, queueName, jobId);
  }

  async getActiveCount(queueName: string): Promise<number> {
    return countByState(this.#executor, queueName, 'active');
  }

  async getGroupActiveCount(queueName: string, groupId: string): Promise<number> {
    return countGroupActive(this.#executor, queueName, groupId);
  }

  async getWaitingGroupCount(queueName: string, groupId: string): Promise<number> {
    return countGroupWaiting(this.#executor, queueName, groupId);
  }

  async getStalledJobs(queueName: string, _stalledThreshold: number): Promise<JobData[]> {
    const stalled = await stalledJobs(this.#executor, queueName);
    for (const { job, lease } of stalled) this.#leases.stalled(queueName, job.id, lease);
    return stalled.map(this.#damagedRows.read);
  }

  async getNextDelayedTimestamp(queueName: string): Promise<number | null> {
    return nextDelayed(this.#executor, queueName);
  }

  async promoteDelayedJobs(queueName: string, timestamp: number): Promise<number> {
    return this.#nowWaiting(queueName, await promoteDue(this.#executor, queueName, timestamp));
  }

  async promoteJobs(queueName: string): Promise<number> {
    return this.#nowWaiting(queueName, (await promoteAll(this.#executor, queueName)).count);
  }

  async clean(queueName: string, state: JobState, grace: Duration): Promise<number> {
    const { count, parents } = await clean(this.#executor, queueName, state, grace);
    announceParents(this.engine.notifier, parents);
    return count;
  }

  async drain(queueName: string): Promise<void> {
    const { parents } = await drain(this.#executor, queueName);
    announceParents(this.engine.notifier, parents);
  }

  async obliterate(queueName: string, options: { force?: boolean } = {}): Promise<void> {
    validateQueueName(queueName);
    try {
      const { parents } = await obliterate(this.#executor, queueName, options.force ?? false);
      announceParents(this.engine.notifier, parents);
    } finally {
      // The queue was paused for a moment: workers that polled then must poll again.
      this.engine.notifier.wake(queueName);
    }
  }

  async retryJobs(queueName: string, state: 'failed' | 'completed'): Promise<number> {
    return this.#nowWaiting(queueName, (await retryJobs(this.#executor, queueName, state)).count);
  }

  #nowWaiting(queueName: string, count: number): number {
    if (count > 0) this.engine.notifier.wake(queueName);
    return count;
  }

  async pauseJobName(queueName: string, jobName: string): Promise<void> {
    validateName(jobName, 'jobName');
    await pauseName(this.#executor, validateQueueName(queueName), jobName);
  }

  async resumeJobName(queueName: string, jobName: string): Promise<void> {
    await resumeName(this.#executor, queueName, jobName);
    this.engine.notifier.wake(queueName);
  }

  async getPausedJobNames(queueName: string): Promise<string[]> {
    return getPausedNames(this.#executor, queueName);
  }

  async listJobs(queueName: string, state: JobState, start = 0, end = 100): Promise<JobData[]> {
    return (await listJobs(this.#executor, queueName, state, start, end)).map(this.#damagedRows.read);
  }

  async countJobs(queueName: string, state: JobState): Promise<number> {
    assertJobState(state);
    return countByState(this.#executor, queueName, state);
  }

  async getJobCounts(queueName: string): Promise<JobCounts> {
    return countStates(this.#executor, queueName);
  }

  async listQueues(): Promise<QueueInfo[]> {
    return listQueues(this.#executor);
  }

  async searchByName(text: string, queueName?: string, limit = 50): Promise<JobData[]> {
    return (await searchByName(this.#executor, text, queueName, limit)).map(this.#damagedRows.read);
  }

  async searchByPayload(queueName: string, text: string, limit = 50): Promise<JobData[]> {
    return (await searchByPayload(this.#executor, queueName, text, limit)).map(this.#damagedRows.read);
  }

  async searchJobs(filter: SearchFilter, start = 0, end = 50): Promise<{ jobs: JobData[]; total: number }> {
    const { jobs, total } = await searchJobs(this.#executor, filter, start, end);
    return { jobs: jobs.map(this.#damagedRows.read), total };
  }

  async listFlowParents(state?: JobState, limit = 100): Promise<JobData[]> {
    return (await listFlowParents(this.#executor, state, limit)).map(this.#damagedRows.read);
  }

  async cancelJob(queueName: string, jobId: string): Promise<boolean> {
    const cancelled = await cancelActive(this.#executor, queueName, jobId);
    if (cancelled) this.engine.notifier.publish('job:cancelled', queueName, jobId);
    return cancelled;
  }

  async saveFlow(jobs: { queueName: string; job: NewJobData }[]): Promise<string[]> {
    return saveTree(this.engine, jobs);
  }

  async notifyChildCompleted(parentQueueName: string, parentId: string): Promise<JobState> {
    const state = await notifyChildCompleted(this.#executor, parentQueueName, parentId);
    if (state === 'waiting') this.engine.notifier.wake(parentQueueName);
    else if (state === 'delayed') this.engine.notifier.wake(parentQueueName, DUE_NOW);
    return state;
  }

  async failParentOnChildFailure(parentQueueName: string, parentId: string, reason: string): Promise<boolean> {
    return failParent(this.#executor, parentQueueName, parentId, reason);
  }

  async getChildrenJobs(parentQueueName: string, parentId: string): Promise<JobData[]> {
    return getChildrenJobs(this.#executor, parentQueueName, parentId);
  }

  subscribe(queueName: string, callback: StoreEventCallback): void {
    this.engine.notifier.subscribe(validateQueueName(queueName), callback);
  }

  unsubscribe(queueName: string, callback?: StoreEventCallback): void {
    this.engine.notifier.unsubscribe(queueName, callback);
  }

  async publish(event: StoreEvent): Promise<void> {
    this.engine.notifier.publishEvent(event);
  }

  async getMetrics(queueName: string, query: MetricsQuery): Promise<MetricsBucket[]> {
    requireMetrics(this.engine.options);
    return readMetrics(this.#executor, queueName, query);
  }

  async aggregateMetrics(): Promise<void> {
    requireMetrics(this.engine.options);
    await aggregateMetrics(this.#executor, this.engine.options.metrics);
  }
}

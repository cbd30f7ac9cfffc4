import type { Duration, JobData, JobState } from '../../model/job.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { getChildrenJobs, getJob } from '../../store/read/find.js';
import type { Attempt } from './attempt.js';
import type { JobSource } from './job-fields.js';
import { JobObservable } from './job-observable.js';
import { JobWrites } from './job-writes.js';
import type { CheckedData } from './schemas.js';
import { waitUntilFinished } from './wait-until-finished.js';

/**
 * A job: what a handler receives, and what `add`, `getJob` and flows return. Its fields are what was last read or
 * written through this object; `Queue.getJob` reads anew.
 *
 * A method rejects with `JobNotFoundError` when there is no such job, with `InvalidJobStateError` when it is in the
 * wrong state, and inside a handler with `LeaseLostError` when the worker no longer holds the job: then nothing was
 * written.
 */
export class Job<T = unknown, N extends string = string, R = unknown> extends JobWrites<T, N, R> {
  constructor(data: JobData<T>, store: PgStore);
  /** @internal */
  constructor(data: JobData<T> | JobSource<T>, store: PgStore, attempt?: Attempt, checked?: CheckedData);
  constructor(data: JobData<T> | JobSource<T>, store: PgStore, attempt?: Attempt, checked?: CheckedData) {
    super(data, store, attempt, checked);
  }

  /** In a handler: aborts on cancellation, timeout, loss of the lease and forced close. */
  get signal(): AbortSignal | undefined {
    return this.attempt?.signal;
  }

  /** Read anew; false for a job that is gone. */
  async isCompleted(): Promise<boolean> {
    return (await this.#readState()) === 'completed';
  }
  /** Read anew; false for a job that is gone. */
  async isFailed(): Promise<boolean> {
    return (await this.#readState()) === 'failed';
  }
  /** Read anew; false for a job that is gone. */
  async isActive(): Promise<boolean> {
    return (await this.#readState()) === 'active';
  }

  /** The job this one is a child of; null when there is none, or it was removed. */
  async getParent(): Promise<Job | null> {
    const { parentId, parentQueueName } = this;
    if (parentId === null || parentQueueName === null) return null;
    const parent = await getJob(this.store.engine.executor, parentQueueName, parentId);
    return parent && jobOf(parent.job, this.store);
  }

  /** The job's children, of any queue and in any state, oldest first. */
  async getDependencies(): Promise<Job[]> {
    const children = await getChildrenJobs(this.store.engine.executor, this.queueName, this.id);
    return children.map((child) => jobOf(child, this.store));
  }

  /**
   * Results of the completed children by their ids, also of those that were removed on completion. `Value` is their
   * type, which is not checked: `getChildrenValues<ResultOf<ImageJobs, 'resize'>>()`.
   */
  async getChildrenValues<Value = unknown>(): Promise<Record<string, Value>> {
    const { executor } = this.store.engine;
    const [self, children] = await Promise.all([
      getJob(executor, this.queueName, this.id),
      getChildrenJobs(executor, this.queueName, this.id),
    ]);
    const completed = children.filter(({ state }) => state === 'completed');
    const values = Object.fromEntries(completed.map((child) => [child.id, child.returnvalue]));
    return { ...self?.childrenValues, ...values } as Record<string, Value>;
  }

  observe(): JobObservable<R> {
    return new JobObservable<R>(this.id, this.queueName, this.store, this.read);
  }

  /**
   * Resolves with the result once the job has completed, in whichever process. It is null when the handler returned
   * nothing, and when the result could not be stored.
   *
   * @param ttl longest wait in ms, or a duration. Default: none.
   * @throws JobFailedError when it failed or was cancelled; WaitTimeoutError; JobNotFoundError when it was removed
   * before its end was known. A job that was to be removed on completion and no longer exists has completed: undefined.
   */
  async waitUntilFinished(ttl?: Duration): Promise<R> {
    return (await waitUntilFinished(this, this.store, ttl)) as R;
  }

  async #readState(): Promise<JobState | undefined> {
    return (await getJob(this.store.engine.executor, this.queueName, this.id))?.job.state;
  }
}

/** For the class itself: esbuild gives a class that mentions its own name another one. */
const jobOf = (data: JobData, store: PgStore): Job => new Job(data, store);

import type { DrizzleLike } from '../../db/drizzle-like.js';
import { ClosedError } from '../../model/errors.js';
import type { Duration, JobData, JobOptions, JobState, RepeatOptions } from '../../model/job.js';
import type { InputOf, JobName, ResultOf } from '../../model/job-types.js';
import { checkLogger } from '../../model/logger.js';
import { durationIn, withoutIn } from '../../model/options/duration.js';
import { type ResolvedJobOptions, resolveJobOptions, withDefaults } from '../../model/options/job-options.js';
import { assertJobState, oneOf, validateName, validateQueueName } from '../../model/options/names.js';
import { readOptions } from '../../model/options/option-object.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import type { JobCounts } from '../../model/store-interface.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { getJob } from '../../store/read/find.js';
import { ALL_NAMES } from '../../store/rules/metrics-buckets.js';
import { listSchedules, removeSchedule } from '../../store/schedules/list.js';
import { EventBus } from '../event-bus.js';
import { Job } from '../job/job.js';
import { JobObservable } from '../job/job-observable.js';
import { checkedBy, checkSchemas, type JobSchemas } from '../job/schemas.js';
import type { JobOf } from '../job/typed-job.js';
import { Adder } from './adder.js';
import type { AddedJob, BulkItems, QueueEvents, QueueOptions, TransactionalQueue } from './queue-types.js';

/**
 * Adds jobs to a queue and manages it. `T` is the payload of every job, or a `JobMap` from job names to payloads.
 *
 * Bad input rejects with a `TypeError`, `RangeError` or `InvalidPayloadError` before any SQL; an unreachable server
 * with `ConnectionError`; every call after `close()` with `ClosedError`.
 */
export class Queue<T = unknown> {
  /** Never set: has the compiler compare queues by their members, so that a queue of any jobs is a `Queue`. */
  declare readonly '~jobs'?: { [K in keyof T & string]: unknown };
  readonly name: string;
  // Mapped in place for the same reason.
  readonly events: EventBus<{ [K in keyof QueueEvents<T>]: QueueEvents<T>[K] }>;
  readonly #store: PgStore;
  readonly #defaults: ResolvedJobOptions;
  readonly #schemas: JobSchemas | undefined;
  readonly #adder: Adder;
  #closed = false;

  constructor(name: string, options: QueueOptions<T>) {
    this.name = validateQueueName(name);
    readOptions(options, 'options', ['store', 'defaultJobOptions', 'logger', 'schemas']);
    const { store, logger } = options;
    if (!store?.engine) throw new TypeError('Queue options.store must be a PgStore.');
    this.#store = store;
    this.#defaults = resolveJobOptions(options.defaultJobOptions);
    this.#schemas = checkSchemas(options.schemas, 'schemas');
    this.events = new EventBus(logger === undefined ? store.engine.options.logger : checkLogger(logger, 'logger'));
    this.#adder = new Adder(this.#store, this.#schemas, (job) => this.#emitAdded(job));
  }

  /**
   * Saves a job. When an unfinished job has its deduplication key, or any job its `jobId`, that one is returned instead.
   *
   * @throws GroupFullError when the group has `group.maxSize` jobs waiting or delayed
   */
  async add<N extends JobName<T>>(name: N, data: InputOf<T, N>, opts?: JobOptions): Promise<AddedJob<T, N>> {
    this.#assertOpen();
    return this.#adder.add<AddedJob<T, N>>(this.name, name, data, this.#resolve(opts));
  }

  /**
   * Many jobs, in the order given: one statement per thousand, each thousand saved whole or not at all. (Repeating jobs
   * and those with `group.maxSize` are saved one by one, and so are those whose deduplication key is contended.)
   */
  async addBulk(jobs: BulkItems<T>): Promise<JobOf<T>[]> {
    this.#assertOpen();
    return this.#adder.addBulk<JobOf<T>>(this.name, this.#bulk(jobs));
  }

  /**
   * The same `add` and `addBulk` inside a transaction of the app's Drizzle client, of any driver. Rolled back: no job
   * and no notification. Committed: idle workers are woken at once.
   */
  withTransaction(transaction: DrizzleLike): { [K in keyof TransactionalQueue<T>]: TransactionalQueue<T>[K] } {
    this.#assertOpen();
    if (typeof transaction?.execute !== 'function') {
      throw new TypeError('withTransaction() takes the transaction that db.transaction(async (tx) => …) hands out.');
    }
    const adder = new Adder(this.#store, this.#schemas, undefined, transaction);
    return {
      add: async (name, data, opts) => {
        this.#assertOpen();
        return adder.add(this.name, name, data, this.#resolve(opts));
      },
      addBulk: async (jobs) => {
        this.#assertOpen();
        return adder.addBulk(this.name, this.#bulk(jobs));
      },
    };
  }

  /** Adds a job that runs after `delay`: ms, or a text such as `'in 10 minutes'`. */
  schedule<N extends JobName<T>>(
    delay: Duration,
    name: N,
    data: InputOf<T, N>,
    opts?: JobOptions,
  ): Promise<AddedJob<T, N>> {
    return this.add(name, data, { ...opts, delay: withoutIn(delay) });
  }

  /** Adds a job that runs as soon as it can, whatever the default options say. */
  now<N extends JobName<T>>(name: N, data: InputOf<T, N>, opts?: JobOptions): Promise<AddedJob<T, N>> {
    return this.add(name, data, { ...opts, delay: 0 });
  }

  /** A job at once (or at `repeat.startDate`) and then each interval. Registered again it is the same schedule. */
  every<N extends JobName<T>>(
    interval: Duration,
    name: N,
    data: InputOf<T, N>,
    opts?: JobOptions,
  ): Promise<AddedJob<T, N>> {
    return this.add(name, data, repeating(opts, { every: interval }));
  }

  /** A job at each tick of a cron expression (5, 6 or 7 fields), in the time zone `repeat.tz` (default UTC). */
  cron<N extends JobName<T>>(
    expression: string,
    name: N,
    data: InputOf<T, N>,
    opts?: JobOptions,
  ): Promise<AddedJob<T, N>> {
    return this.add(name, data, repeating(opts, { cron: expression }));
  }

  /** The queue's repeating schedules. */
  async getSchedules(): Promise<StoredSchedule[]> {
    this.#assertOpen();
    return listSchedules(this.#store.engine.executor, this.name);
  }

  /**
   * Ends a repeating schedule and deletes its jobs that have not begun; one that runs, or waits for its next attempt,
   * stays. True when there was such a schedule.
   */
  async removeSchedule(key: string): Promise<boolean> {
    this.#assertOpen();
    const { executor, notifier } = this.#store.engine;
    const { removed, jobIds } = await removeSchedule(executor, this.name, validateName(key, 'schedule key'));
    for (const id of jobIds) notifier.publish('job:removed', this.name, id);
    return removed;
  }

  /** Workers claim no more jobs (of that name) until `resume`; running ones go on. */
  async pause(options: { jobName?: string } = {}): Promise<void> {
    this.#assertOpen();
    const jobName = jobNameOf(options);
    await this.#store.pauseJobName(this.name, jobName ?? ALL_NAMES);
    this.#store.engine.notifier.publish('queue:paused', this.name, undefined, { data: { jobName } });
    this.events.emit('paused', { jobName });
  }

  async resume(options: { jobName?: string } = {}): Promise<void> {
    this.#assertOpen();
    const jobName = jobNameOf(options);
    await this.#store.resumeJobName(this.name, jobName ?? ALL_NAMES);
    const { notifier } = this.#store.engine;
    notifier.publish('queue:resumed', this.name, undefined, { data: { jobName } });
    notifier.wake(this.name);
    this.events.emit('resumed', { jobName });
  }

  /** Removes every job that has not started: waiting, delayed and waiting for children. */
  async drain(): Promise<void> {
    this.#assertOpen();
    await this.#store.drain(this.name);
    this.#store.engine.notifier.publish('queue:drained', this.name);
    this.events.emit('drained', undefined);
  }

  /** Removes jobs of a state that are older than `grace` (ms, or a duration); returns how many. */
  async clean(state: JobState, grace: Duration): Promise<number> {
    this.#assertOpen();
    assertJobState(state);
    return this.#store.clean(this.name, state, durationIn(grace, 'grace', 0, Number.MAX_SAFE_INTEGER));
  }

  /** Removes everything of this queue. Rejects while jobs are active, unless `force`. */
  async obliterate(options: { force?: boolean } = {}): Promise<void> {
    this.#assertOpen();
    readOptions(options, 'options', ['force']);
    await this.#store.obliterate(this.name, options);
  }

  /** Starts failed (or completed) jobs over; returns how many. */
  async retryJobs(options: { state?: 'failed' | 'completed' } = {}): Promise<number> {
    this.#assertOpen();
    return this.#store.retryJobs(this.name, oneOf(options.state ?? 'failed', 'state', ['failed', 'completed']));
  }

  /** Makes all delayed jobs run now; returns how many. */
  async promoteJobs(): Promise<number> {
    this.#assertOpen();
    return this.#store.promoteJobs(this.name);
  }

  async getJob(id: string): Promise<JobOf<T> | null> {
    this.#assertOpen();
    const found = await getJob(this.#store.engine.executor, this.name, validateName(id, 'job id'));
    return found && this.#jobOf(found.job);
  }

  /** Jobs of a state: ended ones newest first, others oldest first. `end` is exclusive. */
  async getJobs(state: JobState, start = 0, end = 100): Promise<JobOf<T>[]> {
    this.#assertOpen();
    const jobs = await this.#store.listJobs(this.name, state, start, end);
    return jobs.map((job) => this.#jobOf(job));
  }

  async count(state: JobState): Promise<number> {
    this.#assertOpen();
    return this.#store.countJobs(this.name, state);
  }

  async getJobCounts(): Promise<JobCounts> {
    this.#assertOpen();
    return this.#store.getJobCounts(this.name);
  }

  /** Observes a job of this queue, in whichever process it runs. */
  observe(id: string): JobObservable<ResultOf<T>> {
    this.#assertOpen();
    return new JobObservable<ResultOf<T>>(validateName(id, 'job id'), this.name, this.#store);
  }

  /** Afterwards every call rejects. The store stays connected: other queues may use it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.events.removeAllListeners();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #jobOf(job: JobData): JobOf<T> {
    return new Job(job, this.#store, undefined, checkedBy(this.#schemas, job.name)) as JobOf<T>;
  }

  #resolve(opts: JobOptions | undefined): ResolvedJobOptions {
    if (opts === undefined || opts === null) return this.#defaults;
    return withDefaults(resolveJobOptions(opts), this.#defaults);
  }

  #bulk(jobs: BulkItems<T>): { name: string; data: unknown; opts: ResolvedJobOptions }[] {
    if (!Array.isArray(jobs)) throw new TypeError('addBulk() takes an array of { name, data, opts? }.');
    return (jobs as BulkItems<unknown>).map((item, i) => {
      if (item === null || typeof item !== 'object')
        throw new TypeError(`addBulk()[${i}] must be { name, data, opts? }.`);
      return { name: item.name, data: item.data, opts: this.#resolve(item.opts) };
    });
  }

  #emitAdded(job: { state: JobState }): void {
    const { state } = job;
    if (state === 'waiting' || state === 'delayed') this.events.emit(state, job as JobOf<T>);
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError(`Queue "${this.name}"`);
  }
}

/** The job name that a pause applies to; undefined: every name. */
function jobNameOf(options: { jobName?: string }): string | undefined {
  const { jobName } = readOptions(options, 'options', ['jobName']);
  return jobName === undefined ? undefined : validateName(jobName, 'jobName');
}

function repeating(opts: JobOptions | undefined, schedule: RepeatOptions): JobOptions {
  return { ...opts, repeat: { ...opts?.repeat, ...schedule } };
}

import type { DrizzleLike } from '../../db/drizzle-like.js';
import { ClosedError, LeaseLostError } from '../../model/errors.js';
import type { Logger } from '../../model/logger.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { EventBus } from '../event-bus.js';
import { Attempt, type AttemptEnd, type SettleInTransaction } from '../job/attempt.js';
import { cancelledError } from '../job/cancel.js';
import { Job } from '../job/job.js';
import type { JobOf } from '../job/typed-job.js';
import { end, type RunnerOptions, runAttempt, runAttempts } from './attempt-runner.js';
import type { Capacity } from './capacity.js';
import { GracePeriods } from './grace-periods.js';
import type { HandlerCall, LeasedJob } from './leased-job.js';
import type { Leases } from './leases.js';
import { settleInTransaction, transactionOutcome } from './settle-in-transaction.js';
import type { SettlementRules } from './settlement.js';
import type { Settler } from './settler.js';
import type { StartRecords } from './start-records.js';
import type { WorkerEvents } from './worker-types.js';

export interface DispatcherOptions<T> {
  readonly engine: Engine;
  readonly events: EventBus<WorkerEvents<T>>;
  readonly rules: SettlementRules;
  readonly runner: Omit<RunnerOptions, 'ended' | 'timedOut'>;
  readonly batched: boolean;
  readonly capacity: Capacity;
  readonly leases: Leases;
  readonly settler: Settler;
  readonly startRecords: StartRecords;
  /** How often a job may stall; beyond it, it runs alone. */
  readonly maxStalledCount: number;
  /** ms that a handler may go on after its signal has aborted. */
  readonly timeoutGrace: number;
  readonly logger: Logger;
  /** A slot is free again. */
  freed(): void;
  error(error: unknown): void;
}

/** Takes claimed jobs through their attempts: leases them, starts them, and stops those that must not go on. */
export class Dispatcher<T> {
  readonly #options: DispatcherOptions<T>;
  readonly #runner: RunnerOptions;
  readonly #gracePeriods: GracePeriods;
  readonly #settleInTransaction: SettleInTransaction = (attempt, transaction, end) =>
    this.#settleIn(attempt, transaction, end);
  #recorded: Promise<unknown> = Promise.resolve();

  constructor(options: DispatcherOptions<T>) {
    this.#options = options;
    this.#runner = {
      ...options.runner,
      ended: (job, end) => options.settler.settle(job, end),
      timedOut: (job, timeout) => this.#timedOut(job, timeout),
    };
    this.#gracePeriods = new GracePeriods({ grace: options.timeoutGrace, expired: (job) => this.#abandon(job) });
  }

  /** Takes charge of a claimed job. @param claimedAt `performance.now()` when the claim was sent */
  lease(stored: StoredJob, claimedAt: number): LeasedJob {
    const { rules, leases } = this.#options;
    const attempt = new Attempt(
      { lease: stored.lease, workerId: rules.workerId },
      this.#settleInTransaction,
      stored.place,
    );
    const job: LeasedJob = {
      stored,
      attempt,
      confirmedAt: claimedAt,
      call: undefined,
      startedAlone: undefined,
      startRecorded: false,
      settledInTransaction: undefined,
    };
    // Cancelled while it was released, and claimed again: it must not run.
    attempt.cancelled = stored.isCancelled;
    leases.add(job);
    return job;
  }

  /** Starts jobs, but not those that were lost or cancelled since they were claimed. */
  start(jobs: readonly LeasedJob[]): void {
    const { batched, capacity } = this.#options;
    if (!batched) {
      for (const job of jobs) if (this.#canStart(job)) this.#run([job]);
      return;
    }
    const size = capacity.batchSize;
    for (let i = 0; i < jobs.length; i += size) {
      const batch = jobs.slice(i, i + size).filter((job) => this.#canStart(job));
      if (batch.length > 0) this.#run(batch);
    }
  }

  /** Returns prefetched jobs to waiting that found no free slot. Never rejects. */
  async release(jobs: readonly LeasedJob[]): Promise<void> {
    this.#options.capacity.prefetchExpired();
    await Promise.all(jobs.map((job) => this.#release(job)));
  }

  /**
   * Whether the job may run only while nothing else does. It has stalled more often than it may, beside others: alone, it
   * is found to be the cause or not, and the others are safe from it. One that must not run at all waits for nothing.
   */
  mustBeAlone({ stored, attempt }: LeasedJob): boolean {
    return stored.stalledCount > this.#options.maxStalledCount && !attempt.cancelled && !attempt.lost;
  }

  /** Delays a job that must be alone and could not be, by `delayMs`. Never rejects. */
  async postpone(job: LeasedJob, delayMs: number): Promise<void> {
    await this.#return(job, { kind: 'delayed', delayMs });
  }

  /** Resolves when all jobs whose start is recorded first have started, or have been released. */
  async recorded(): Promise<void> {
    await this.#recorded;
  }

  /** Aborts what is running, and returns all leased jobs to waiting. */
  abandonAll(): void {
    for (const job of this.#options.leases.all()) {
      if (!job.attempt.ended) this.#abort(job, new ClosedError('The worker'));
      void this.#release(job);
    }
  }

  /** The worker is closed: its handlers are not waited for any more. */
  clear(): void {
    const { leases, startRecords, capacity } = this.#options;
    this.#gracePeriods.clear();
    leases.clear();
    startRecords.clear();
    capacity.leave();
  }

  /** A renewal did not find the job active under its lease: lost, unless its handler settled it in a transaction. */
  async notRenewed(job: LeasedJob): Promise<void> {
    const { settledInTransaction: written } = job;
    if (!written) {
      this.#lost(job);
      return;
    }
    try {
      if (!(await transactionOutcome(this.#options.engine, job.stored, written))) this.#lost(job);
    } catch {
      // The database cannot be reached: the next renewal and the end of the attempt ask again.
    }
  }

  /** A handler that has not ended at its time limit is not waited for again. */
  cancelled(job: LeasedJob): void {
    const { attempt } = job;
    if (attempt.cancelled || attempt.ended) return;
    attempt.cancelled = true;
    this.#abort(job, cancelledError());
    if (this.#options.events.has('cancelled')) this.#options.events.emit('cancelled', this.#asJob(job));
    if (attempt.timedOut) this.#gracePeriods.expire(job);
    this.#stopped(job);
  }

  async #settleIn(attempt: Attempt, transaction: DrizzleLike, end: AttemptEnd): Promise<boolean> {
    const { engine, rules, leases } = this.#options;
    const job = leases.all().find((leased) => leased.attempt === attempt);
    if (!job) return false;
    job.settledInTransaction = await settleInTransaction(engine, transaction, job, end, rules);
    attempt.settledIn = job.settledInTransaction.xid;
    return true;
  }

  #timedOut(job: LeasedJob, timeout: number): void {
    const { events, logger, timeoutGrace } = this.#options;
    this.#gracePeriods.begin(job);
    logger.warn(
      `conveyor: job "${job.stored.id}" has not ended within its timeout of ${timeout} ms: its signal has aborted, ` +
        `and its handler has ${timeoutGrace} ms more (timeoutGrace)`,
    );
    if (events.has('timeout')) events.emit('timeout', { job: this.#asJob(job), timeout });
  }

  #abort(job: LeasedJob, reason: Error): void {
    job.attempt.abort(reason);
    if (job.call) this.#gracePeriods.begin(job);
  }

  /**
   * The handler goes on although its signal has aborted: the worker does not wait for it any more. The attempt is
   * settled, and what the handler still writes is refused, because it no longer holds the lease.
   */
  #abandon(job: LeasedJob): void {
    const { events, logger, timeoutGrace } = this.#options;
    const { id } = job.stored;
    logger.warn(
      `conveyor: the handler of job "${id}" has not returned ${timeoutGrace} ms after its signal aborted. It is abandoned: ` +
        'its slot is free, and what it still writes to the job is refused',
    );
    end(job, { kind: 'failed', error: job.attempt.abortReason }, this.#runner);
    if (events.has('abandoned')) events.emit('abandoned', { job: this.#asJob(job), grace: timeoutGrace });
    // The handler of a batch is still waited for by its other jobs.
    if (job.call?.jobs.every(({ attempt }) => attempt.ended)) this.#free(job.call);
  }

  #asJob({ stored, attempt }: LeasedJob): JobOf<T> {
    return new Job(stored, this.#options.runner.store, attempt) as JobOf<T>;
  }

  #lost(job: LeasedJob): void {
    const { attempt, stored } = job;
    if (attempt.lost || attempt.ended) return;
    attempt.lost = true;
    this.#options.leases.delete(job);
    const error = new LeaseLostError(stored.id, stored.queueName);
    this.#abort(job, error);
    this.#options.error(error);
    this.#stopped(job);
  }

  /** One that has not started may be what the jobs behind it wait for. */
  #stopped({ call }: LeasedJob): void {
    if (!call) this.#options.freed();
  }

  /**
   * A job that was, or may have been, cancelled before it started is released: if it was cancelled, the database ends
   * it without ever running it, and if not, it is waiting again.
   */
  #canStart(job: LeasedJob): boolean {
    const { attempt } = job;
    if (attempt.lost || attempt.ended) return false;
    if (!attempt.cancelled && !this.#options.leases.isUncertain(job)) return true;
    void this.#release(job);
    return false;
  }

  #release(job: LeasedJob): Promise<void> {
    return this.#return(job, { kind: 'released' });
  }

  #return(job: LeasedJob, to: AttemptEnd): Promise<void> {
    if (job.attempt.ended) return Promise.resolve();
    job.attempt.ended = true;
    return new Promise((resolve) => this.#options.settler.settle(job, to, resolve));
  }

  #run(batch: readonly LeasedJob[]): void {
    const { capacity } = this.#options;
    const exclusive = this.mustBeAlone(batch[0] as LeasedJob);
    const call = { jobs: batch, free: capacity.take(batch.length, exclusive) };
    for (const job of batch) job.startedAlone = capacity.single || exclusive;
    if (batch.some(hasLostWorker)) this.#recorded = Promise.all([this.#recorded, this.#recordAndRun(call)]);
    else {
      this.#noteStart(batch);
      this.#call(call);
    }
  }

  /** The next statement of the leases records the start, or, where jobs are short, one that comes later. */
  #noteStart(batch: readonly LeasedJob[]): void {
    const { capacity, leases, startRecords } = this.#options;
    if (capacity.short) startRecords.expect();
    else for (const job of batch) void leases.recordStart(job);
  }

  /**
   * Jobs whose worker was lost before start only when that start is recorded, so that one that kills its process at once
   * is known as well. Jobs whose start cannot be recorded are released.
   */
  async #recordAndRun(call: HandlerCall): Promise<void> {
    await Promise.all(call.jobs.map((job) => this.#options.leases.recordStart(job)));
    for (const job of call.jobs) if (!job.startRecorded) void this.#release(job);
    const ready = call.jobs.filter((job) => job.startRecorded && this.#canStart(job));
    if (ready.length > 0) this.#call({ ...call, jobs: ready });
    else this.#free(call);
  }

  #free(call: HandlerCall): void {
    call.free();
    this.#options.freed();
  }

  #call(call: HandlerCall): void {
    const { engine, events, batched } = this.#options;
    const { jobs: batch } = call;
    for (const job of batch) {
      job.call = call;
      const { id, queueName, attemptsMade } = job.stored;
      if (events.has('active')) events.emit('active', this.#asJob(job));
      engine.notifier.publish('job:active', queueName, id, attemptsMade > 0 ? { attemptsMade } : undefined);
    }
    if (batched) void runAttempts(batch, this.#runner).then(() => this.#returned(call));
    else runAttempt(batch[0] as LeasedJob, this.#runner, () => this.#returned(call));
  }

  /** The handler has returned, for all its jobs. */
  #returned(call: HandlerCall): void {
    for (const job of call.jobs) this.#gracePeriods.end(job);
    this.#free(call);
  }
}

/** The lease of such a job has expired before, whether or not its handler had started. */
const hasLostWorker = ({ stored }: LeasedJob): boolean => stored.stalledCount > 0 || stored.startedLease === 0;

import { ClosedError, LeaseLostError } from '../../model/errors.js';
import type { StoredJob } from '../../store/rows/job-row.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { EventBus } from '../event-bus.js';
import { Attempt } from '../job/attempt.js';
import { cancelledError } from '../job/cancel.js';
import { Job } from '../job/job.js';
import type { JobOf } from '../job/typed-job.js';
import { type RunnerOptions, runAttempt, runAttempts } from './attempt-runner.js';
import type { Capacity } from './capacity.js';
import type { LeasedJob } from './leased-job.js';
import type { Leases } from './leases.js';
import { settleInTransaction, transactionOutcome } from './settle-in-transaction.js';
import type { SettlementRules } from './settlement.js';
import type { Settler } from './settler.js';
import type { WorkerEvents } from './worker-types.js';

export interface DispatcherOptions<T> {
  readonly engine: Engine;
  readonly events: EventBus<WorkerEvents<T>>;
  readonly rules: SettlementRules;
  readonly runner: Omit<RunnerOptions, 'ended'>;
  readonly batched: boolean;
  readonly capacity: Capacity;
  readonly leases: Leases;
  readonly settler: Settler;
  /** A slot is free again. */
  freed(): void;
  error(error: unknown): void;
}

/** Takes claimed jobs through their attempts: leases them, starts them, and stops those that must not go on. */
export class Dispatcher<T> {
  readonly #options: DispatcherOptions<T>;
  readonly #runner: RunnerOptions;

  constructor(options: DispatcherOptions<T>) {
    this.#options = options;
    this.#runner = { ...options.runner, ended: (job, end) => options.settler.settle(job, end) };
  }

  /** Takes charge of a claimed job. @param claimedAt `performance.now()` when the claim was sent */
  lease(stored: StoredJob, claimedAt: number): LeasedJob {
    const { engine, rules, leases } = this.#options;
    const attempt = new Attempt({ lease: stored.lease, workerId: rules.workerId });
    const job: LeasedJob = { stored, attempt, confirmedAt: claimedAt, settledInTransaction: undefined };
    attempt.settleInTransaction = async (transaction, end) => {
      job.settledInTransaction = await settleInTransaction(engine, transaction, job, end, rules);
    };
    // Cancelled while it was released, and claimed again: it must not run.
    attempt.cancelled = stored.job.cancelledAt !== null;
    leases.add(job);
    return job;
  }

  /** Starts jobs, but not those that were lost or cancelled since they were claimed. */
  start(jobs: readonly LeasedJob[]): void {
    const { batched, capacity } = this.#options;
    const size = batched ? capacity.batchSize : 1;
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

  /** Aborts what is running, and returns all leased jobs to waiting. */
  abandonAll(): void {
    for (const job of this.#options.leases.all()) {
      if (!job.attempt.ended) job.attempt.controller.abort(new ClosedError('The worker'));
      void this.#release(job);
    }
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

  cancelled({ attempt, stored }: LeasedJob): void {
    if (attempt.cancelled || attempt.ended) return;
    attempt.cancelled = true;
    attempt.controller.abort(cancelledError());
    const { events, runner } = this.#options;
    events.emit('cancelled', new Job(stored.job, runner.store, attempt) as JobOf<T>);
  }

  #lost(job: LeasedJob): void {
    const { attempt, stored } = job;
    if (attempt.lost || attempt.ended) return;
    attempt.lost = true;
    this.#options.leases.delete(job);
    const error = new LeaseLostError(stored.job.id, stored.job.queueName);
    attempt.controller.abort(error);
    this.#options.error(error);
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
    if (job.attempt.ended) return Promise.resolve();
    job.attempt.ended = true;
    return new Promise((resolve) => this.#options.settler.settle(job, { kind: 'released' }, resolve));
  }

  #run(batch: readonly LeasedJob[]): void {
    const { engine, events, batched, capacity, runner, freed } = this.#options;
    const free = capacity.take(batch.length);
    for (const { stored, attempt } of batch) {
      const { id, queueName } = stored.job;
      if (events.has('active')) events.emit('active', new Job(stored.job, runner.store, attempt) as JobOf<T>);
      engine.notifier.publish('job:active', queueName, id);
    }
    const running = batched ? runAttempts(batch, this.#runner) : runAttempt(batch[0] as LeasedJob, this.#runner);
    void running.then(() => {
      free();
      freed();
    });
  }
}

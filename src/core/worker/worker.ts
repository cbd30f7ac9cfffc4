import { settledWithin } from '../../db/deadline.js';
import { ClosedError, LeaseLostError } from '../../model/errors.js';
import { generateWorkerId } from '../../model/ids.js';
import type { JobData } from '../../model/job.js';
import { integerIn, validateQueueName } from '../../model/options/names.js';
import type { StoredJob } from '../../store/rows/job-row.js';
import type { Engine } from '../../store/runtime/engine.js';
import { CANCELLED_REASON } from '../../store/settle/settle.js';
import { EventBus } from '../event-bus.js';
import { Attempt } from '../job/attempt.js';
import { Job } from '../job/job.js';
import type { JobOf } from '../job/typed-job.js';
import { type RunnerOptions, runAttempt, runAttempts } from './attempt-runner.js';
import { Capacity } from './capacity.js';
import { Claimer } from './claimer.js';
import { Condition } from './condition.js';
import { Fetcher } from './fetcher.js';
import { type LeasedJob, Leases } from './leases.js';
import { type SettledInTransaction, settleInTransaction, transactionOutcome } from './settle-in-transaction.js';
import type { SettlementRules } from './settlement.js';
import { Settler } from './settler.js';
import { attachWakeSources } from './wake-sources.js';
import { type ResolvedWorkerOptions, resolveWorkerOptions, type WorkerOptions } from './worker-options.js';
import type { BatchProcessor, Processor, WorkerEvents } from './worker-types.js';

const DEFAULT_FORCE_MS = 30_000;
/** What a forced close waits for the leases to be given back. */
const SETTLE_GRACE_MS = 5_000;
/** A worker under a limit is not told when the limit allows more. */
const LIMITED_LOOK_MS = 1_000;

/**
 * Takes jobs of one queue and runs them. Every write it makes proves that it still holds the job.
 *
 * @param processor returns the result, or throws; with `batch` it takes an array and returns one result for each.
 */
export class Worker<T = unknown> {
  readonly queueName: string;
  readonly id = generateWorkerId();
  readonly events: EventBus<WorkerEvents<T>>;
  readonly #options: ResolvedWorkerOptions;
  readonly #engine: Engine;
  readonly #runner: RunnerOptions;
  readonly #leases: Leases;
  readonly #claimer: Claimer;
  readonly #fetcher: Fetcher;
  readonly #settler: Settler;
  readonly #capacity: Capacity;
  readonly #condition = new Condition();
  #state: 'idle' | 'running' | 'paused' | 'closed' = 'idle';
  #detach: (() => void)[] = [];
  #unfollow = () => {};
  #closing: Promise<void> | undefined;

  constructor(queueName: string, processor: Processor<T>, options: WorkerOptions<T> & { batch?: never });
  constructor(queueName: string, processor: BatchProcessor<T>, options: WorkerOptions<T> & { batch: { size: number } });
  constructor(queueName: string, processor: Processor<T> | BatchProcessor<T>, options: WorkerOptions<T>) {
    this.queueName = validateQueueName(queueName);
    if (typeof processor !== 'function') throw new TypeError('Worker processor must be a function.');
    this.#options = resolveWorkerOptions(options);
    this.#engine = this.#options.store.engine;
    this.#capacity = new Capacity(this.#options, () => this.#settler.pending);
    this.events = new EventBus(this.#options.logger);
    this.#leases = new Leases(this.#engine, this.id, this.#options.lockDuration, this.#options.logger, {
      lost: (held) => this.#notHeld(held),
      cancelled: (held) => this.#cancelled(held),
    });
    this.#settler = new Settler({
      engine: this.#engine,
      queueName: this.queueName,
      rules: this.#rules,
      lockDuration: this.#options.lockDuration,
      limited: this.#capacity.limited,
      done: (held) => this.#leases.delete(held),
      progressed: () => {
        this.#fetcher.pump();
        this.#condition.changed();
      },
      completed: (stored, changed, result) => {
        if (this.events.has('completed')) this.events.emit('completed', { job: this.#jobNow(stored, changed), result });
      },
      failed: (stored, changed, error) => {
        if (this.events.has('failed')) this.events.emit('failed', { job: this.#jobNow(stored, changed), error });
      },
      error: (error) => this.#error(error),
    });
    this.#claimer = new Claimer({
      engine: this.#engine,
      queueName: this.queueName,
      workerId: this.id,
      worker: this.#options,
      hold: (stored, askedAt) => this.#hold(stored, askedAt),
      held: () => this.#leases.all().map(({ stored }) => stored.job.id),
    });
    this.#fetcher = new Fetcher({
      claim: (limit) => this.#claimer.claim(limit),
      start: (jobs) => this.#start(jobs),
      release: (jobs) => this.#release(jobs),
      free: () => this.#capacity.free(),
      ahead: () => this.#capacity.prefetch(),
      failed: (error) => this.#error(error),
    });
    this.#runner = {
      store: this.#options.store,
      processor: processor as (jobs: unknown, signal: AbortSignal) => unknown,
      schemas: this.#options.schemas,
      mayStart: () => this.#state !== 'closed',
      ended: (one, end) => this.#settler.settle(one, end),
    };
    if (this.#options.autoStart) this.start();
  }

  on<K extends keyof WorkerEvents<T>>(event: K, handler: (payload: WorkerEvents<T>[K]) => void): this {
    this.events.on(event, handler);
    return this;
  }

  /** Begins to take jobs, as soon as the store is connected. Harmless when it has begun already. */
  start(): void {
    if (this.#state === 'closed') throw new ClosedError('The worker');
    if (this.#state === 'running') return;
    const first = this.#state === 'idle';
    this.#state = 'running';
    if (first) this.#attachWhenConnected();
    else if (this.#engine.connected) this.#fetcher.start();
  }

  /** Takes no more jobs; running ones go on. Resolves when none that was claimed but not started is held. */
  async pause(): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'paused';
    await this.#fetcher.stop();
  }

  resume(): void {
    if (this.#state === 'closed') throw new ClosedError('The worker');
    if (this.#state === 'paused') this.start();
  }

  /**
   * Starts no more jobs, gives back those that had not started, and waits for the running ones. After `forceTimeout`
   * ms their signals abort and their leases are given back, without using up an attempt. Safe to call twice.
   */
  close(forceTimeout = DEFAULT_FORCE_MS): Promise<void> {
    integerIn(forceTimeout, 'forceTimeout', 0, 2_147_483_647);
    this.#closing ??= this.#close(forceTimeout);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #attach(): void {
    const { stalledInterval, maxStalledCount } = this.#options;
    const attached = attachWakeSources(this.#engine, {
      queueName: this.queueName,
      interval: this.#capacity.limited ? Math.min(LIMITED_LOOK_MS, stalledInterval) : stalledInterval,
      maxStalledCount,
      wake: () => this.#fetcher.wake(),
      takenAway: (jobId) => this.#leases.check(jobId),
      stalled: (jobId) => this.events.emit('stalled', jobId),
    });
    this.#unfollow = attached.unfollow;
    this.#detach.push(
      attached.detach,
      // When the store goes down, so do these; they come back with it.
      this.#engine.onClose(() => {
        for (const detach of this.#detach.splice(0)) detach();
        this.#unfollow();
        this.#attachWhenConnected();
      }),
    );
  }

  #attachWhenConnected(): void {
    this.#detach.push(
      this.#engine.whenConnected(() => {
        this.#attach();
        if (this.#state === 'running') this.#fetcher.start();
      }),
    );
  }

  #hold(stored: StoredJob, confirmedAt: number): void {
    const attempt = new Attempt({ lease: stored.lease, workerId: this.id });
    const held: LeasedJob = { stored, attempt, confirmedAt };
    attempt.settleInTransaction = async (transaction, end) => {
      attempt.inTransaction = await settleInTransaction(this.#engine, transaction, held, end, this.#rules);
    };
    // Given back while somebody cancelled it, and taken again: it must not run.
    attempt.cancelled = stored.job.cancelledAt !== null;
    this.#leases.add(held);
  }

  #start(jobs: StoredJob[]): void {
    if (this.#options.batchSize === undefined) {
      for (const job of jobs) {
        const one = this.#stillHeld(job);
        if (one) this.#run([one]);
      }
      return;
    }
    const { batchSize } = this.#capacity;
    for (let i = 0; i < jobs.length; i += batchSize) {
      const held = jobs.slice(i, i + batchSize).flatMap((job) => this.#stillHeld(job) ?? []);
      if (held.length > 0) this.#run(held);
    }
  }

  /** Undefined: lost or cancelled while it waited for its turn. */
  #stillHeld({ job, lease }: StoredJob): LeasedJob | undefined {
    const one = this.#leases.get(job.id);
    return one && one.stored.lease === lease && !one.attempt.lost && !this.#endIfCancelled(one) ? one : undefined;
  }

  /** Cancelled before it started: it ends without ever running. If that was said by mistake, it goes back unharmed. */
  #endIfCancelled(held: LeasedJob): boolean {
    const cancelled = held.attempt.cancelled || this.#leases.isSuspect(held);
    if (cancelled) void this.#giveBack(held);
    return cancelled;
  }

  #giveBack(held: LeasedJob): Promise<void> {
    if (held.attempt.ended) return Promise.resolve();
    held.attempt.ended = true;
    return new Promise((resolve) => this.#settler.settle(held, { kind: 'released' }, resolve));
  }

  #run(held: readonly LeasedJob[]): void {
    const over = this.#capacity.take(held.length);
    for (const { stored, attempt } of held) {
      if (this.events.has('active')) {
        this.events.emit('active', new Job(stored.job, this.#options.store, attempt) as JobOf<T>);
      }
      this.#engine.notifier.publish('job:active', this.queueName, stored.job.id);
    }
    const running =
      this.#options.batchSize === undefined
        ? runAttempt(held[0] as LeasedJob, this.#runner)
        : runAttempts(held, this.#runner);
    void running.then(() => {
      over();
      this.#fetcher.pump();
      this.#condition.changed();
    });
  }

  /** Claimed, but no slot came free: back to waiting, for whoever has one. */
  async #release(jobs: StoredJob[]): Promise<void> {
    this.#capacity.prefetchExpired();
    await Promise.all(
      jobs.map(async ({ job }) => {
        const held = this.#leases.get(job.id);
        if (held) await this.#giveBack(held);
      }),
    );
  }

  get #rules(): SettlementRules {
    return {
      workerId: this.id,
      backoffStrategy: this.#options.backoffStrategy,
      maxPayloadBytes: this.#engine.options.maxPayloadBytes,
      logger: this.#options.logger,
    };
  }

  /** For listeners: the job as it is now, which is no longer in this worker's hands. */
  #jobNow(stored: StoredJob, changed: Partial<JobData>): JobOf<T> {
    const data = { ...stored.job, ...changed, lockedBy: null, lockUntil: null };
    return new Job(data, this.#options.store) as JobOf<T>;
  }

  /** The job is not active under our lease: lost, unless the handler has ended it itself, in a transaction. */
  #notHeld(held: LeasedJob): void {
    const { inTransaction } = held.attempt;
    if (!inTransaction) this.#lost(held);
    else void this.#checkTransaction(held, inTransaction);
  }

  async #checkTransaction(held: LeasedJob, written: SettledInTransaction): Promise<void> {
    try {
      if ((await transactionOutcome(this.#engine, held, written)) === 'lease lost') this.#lost(held);
    } catch {
      // The database is away: the next renewal asks again, and so does the end of the attempt.
    }
  }

  #lost(held: LeasedJob): void {
    const { attempt, stored } = held;
    if (attempt.lost || attempt.ended) return;
    attempt.lost = true;
    this.#leases.delete(held);
    const error = new LeaseLostError(stored.job.id, this.queueName);
    attempt.controller.abort(error);
    this.#error(error);
  }

  #cancelled(held: LeasedJob): void {
    const { attempt, stored } = held;
    if (attempt.cancelled || attempt.ended) return;
    attempt.cancelled = true;
    attempt.controller.abort(new Error(CANCELLED_REASON));
    this.events.emit('cancelled', new Job(stored.job, this.#options.store, attempt) as JobOf<T>);
  }

  async #close(forceTimeout: number): Promise<void> {
    const started = this.#state !== 'idle';
    this.#state = 'closed';
    for (const detach of this.#detach.splice(0)) detach();
    if (!started) return;
    void this.#fetcher.stop().then(() => this.#condition.changed());
    const settled = () => this.#settler.pending === 0 && !this.#fetcher.claiming;
    if (!(await this.#condition.until(() => this.#capacity.idle && settled(), forceTimeout))) {
      for (const held of this.#leases.all()) {
        if (!held.attempt.ended) held.attempt.controller.abort(new ClosedError('The worker'));
        void this.#giveBack(held);
      }
      await this.#condition.until(settled, SETTLE_GRACE_MS);
    }
    if (this.#claimer.unsure) await settledWithin(this.#claimer.releaseUnknown(), SETTLE_GRACE_MS);
    this.#unfollow();
    this.#settler.giveUp();
    this.#leases.clear();
  }

  #error(error: unknown): void {
    this.events.emit('error', error instanceof Error ? error : new Error(String(error)));
  }
}

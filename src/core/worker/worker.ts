import { ClosedError } from '../../model/errors.js';
import { generateWorkerId } from '../../model/ids.js';
import type { Duration } from '../../model/job.js';
import { durationIn, MAX_TIMER_MS } from '../../model/options/duration.js';
import { validateQueueName } from '../../model/options/names.js';
import { renew } from '../../store/lease/renew.js';
import type { Engine } from '../../store/runtime/engine.js';
import { EventBus } from '../event-bus.js';
import { Capacity } from './capacity.js';
import { Claimer } from './claimer.js';
import { Condition } from './condition.js';
import { Dispatcher } from './dispatcher.js';
import { drain } from './drain.js';
import { EndEvents } from './end-events.js';
import { Fetcher } from './fetcher.js';
import { Leases } from './leases.js';
import type { SettlementRules } from './settlement.js';
import { Settler } from './settler.js';
import { StartRecords } from './start-records.js';
import { takesSignal } from './takes-signal.js';
import { attachWakeSources } from './wake-sources.js';
import { asError, checkPool, expectConnection } from './worker-log.js';
import {
  type Batched,
  type Checking,
  type ResolvedWorkerOptions,
  resolveWorkerOptions,
  type Single,
  type Unchecked,
  type WorkerOptions,
} from './worker-options.js';
import type {
  BatchProcessor,
  CheckedBatchProcessor,
  CheckedProcessor,
  Processor,
  WorkerEvents,
} from './worker-types.js';

/** Below the 30 s after which orchestrators kill. */
const DEFAULT_CLOSE_MS = 25_000;

/**
 * Claims jobs of one queue and runs them. Every write it makes is fenced by the job's lease.
 *
 * Any worker of a queue takes any of its jobs, whatever their names: of two workers with different processors on one
 * queue, each completes some of the other's jobs. Give each set of handlers a queue of its own, or have one processor
 * that decides by `job.name`.
 *
 * @param processor returns the result, or throws; with `batch` it takes an array and returns one result for each.
 */
export class Worker<T = unknown> {
  /** Never set: has the compiler compare workers by their members, so that a worker of any jobs is a `Worker`. */
  declare readonly '~jobs'?: { [K in keyof T & string]: unknown };
  readonly queueName: string;
  readonly id = generateWorkerId();
  // Mapped in place for the same reason.
  readonly events: EventBus<{ [K in keyof WorkerEvents<T>]: WorkerEvents<T>[K] }>;
  readonly #options: ResolvedWorkerOptions;
  readonly #engine: Engine;
  readonly #endEvents: EndEvents;
  readonly #leases: Leases;
  readonly #claimer: Claimer;
  readonly #dispatcher: Dispatcher<unknown>;
  readonly #fetcher: Fetcher;
  readonly #settler: Settler;
  readonly #capacity: Capacity;
  readonly #condition = new Condition();
  #state: 'idle' | 'running' | 'paused' | 'closed' = 'idle';
  #detach: (() => void)[] = [];
  #unsubscribe = () => {};
  #offBeforeClose = () => {};
  #closing: Promise<void> | undefined;
  #connectTimer: NodeJS.Timeout | undefined;

  constructor(queueName: string, processor: Processor<T>, options: WorkerOptions<T> & Single & Unchecked);
  constructor(
    queueName: string,
    processor: CheckedBatchProcessor<T>,
    options: WorkerOptions<T> & Batched & Checking<T>,
  );
  constructor(queueName: string, processor: BatchProcessor<T>, options: WorkerOptions<T> & Batched);
  constructor(queueName: string, processor: CheckedProcessor<T>, options: WorkerOptions<T> & Single & Checking<T>);
  // For options that may or may not have schemas. The compiler explains what is wrong by the last one.
  constructor(queueName: string, processor: Processor<T>, options: WorkerOptions<T> & Single);
  constructor(queueName: string, processor: (jobs: never, signal: AbortSignal) => unknown, options: WorkerOptions<T>) {
    this.queueName = validateQueueName(queueName);
    if (typeof processor !== 'function') throw new TypeError('Worker processor must be a function.');
    this.#options = resolveWorkerOptions(options);
    const { store, lockDuration, logger, backoffStrategy, schemas, batchSize } = this.#options;
    const engine = store.engine;
    this.#engine = engine;
    this.events = new EventBus(logger);
    const events = this.events as unknown as EventBus<WorkerEvents<unknown>>;
    const endEvents = new EndEvents(events, store, logger);
    this.#endEvents = endEvents;
    const unsettled = () => this.#settler.pending;
    this.#capacity = new Capacity(this.#options, unsettled, () => this.#fetcher.pump());
    const { maxPayloadBytes } = engine.options;
    const rules: SettlementRules = { workerId: this.id, backoffStrategy, maxPayloadBytes, logger };
    const common = { engine, queueName: this.queueName, rules, lockDuration, logger };
    const error = (problem: unknown) => this.#error(problem);
    this.#leases = new Leases({
      ...common,
      workerId: this.id,
      renew: (leases, duration) => renew(engine.executor, leases, duration),
      lost: (job) => void this.#dispatcher.notRenewed(job),
      cancelled: (job) => this.#dispatcher.cancelled(job),
    });
    const startRecords = new StartRecords({
      leased: () => this.#leases.all(),
      record: (job) => this.#leases.recordStart(job),
    });
    this.#settler = new Settler({
      ...common,
      limited: this.#capacity.limited,
      listeners: endEvents,
      done: (job) => this.#leases.delete(job),
      progressed: () => this.#progressed(),
      error,
    });
    this.#dispatcher = new Dispatcher<unknown>({
      ...common,
      events,
      runner: {
        store,
        processor: processor as (jobs: unknown, signal?: AbortSignal) => unknown,
        takesSignal: takesSignal(processor),
        schemas,
        isClosed: () => this.#state === 'closed',
      },
      batched: batchSize !== undefined,
      capacity: this.#capacity,
      leases: this.#leases,
      startRecords,
      maxStalledCount: this.#options.maxStalledCount,
      timeoutGrace: this.#options.timeoutGrace,
      settler: this.#settler,
      freed: () => this.#progressed(),
      error,
    });
    this.#claimer = new Claimer({
      ...common,
      workerId: this.id,
      worker: this.#options,
      lease: (stored, claimedAt) => this.#dispatcher.lease(stored, claimedAt),
      leasedIds: () => this.#leases.all().map(({ stored }) => stored.id),
    });
    this.#fetcher = new Fetcher({
      claim: (limit) => this.#claimer.claim(limit),
      start: (jobs) => this.#dispatcher.start(jobs),
      release: (jobs) => {
        this.#claimer.rewind();
        return this.#dispatcher.release(jobs);
      },
      free: () => this.#capacity.free(),
      idle: () => this.#capacity.processIdle,
      reserve: () => this.#capacity.reserve(),
      unreserve: () => this.#capacity.unreserve(),
      mustBeAlone: (job) => this.#dispatcher.mustBeAlone(job),
      postpone: (job, delayMs) => this.#dispatcher.postpone(job, delayMs),
      prefetch: () => this.#capacity.prefetch(),
      failed: error,
    });
    if (this.#options.autoStart) this.start();
  }

  on<K extends keyof WorkerEvents<T>>(event: K, handler: (payload: WorkerEvents<T>[K]) => void): this {
    this.events.on(event, handler);
    return this;
  }

  /** Begins to claim jobs, as soon as the store is connected. No effect when it has begun already. */
  start(): void {
    if (this.#state === 'closed') throw new ClosedError('The worker');
    if (this.#state === 'running') return;
    const first = this.#state === 'idle';
    this.#state = 'running';
    if (first) {
      this.#capacity.join();
      this.#connectTimer = expectConnection(this.queueName, this.#options.logger);
      this.#attachWhenConnected();
    } else if (this.#engine.connected) this.#fetcher.start();
  }

  /** Claims no more jobs; running ones go on. Resolves when no job is leased that has not started. */
  async pause(): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'paused';
    await this.#fetcher.stop();
    await this.#dispatcher.recorded();
  }

  resume(): void {
    if (this.#state === 'closed') throw new ClosedError('The worker');
    if (this.#state === 'paused') this.start();
  }

  /**
   * Starts no more jobs, releases those that had not started, and waits for the running ones. A fifth of the time limit
   * before its end, but at most 3 s, their signals abort and they are returned to waiting, without using up an attempt.
   * Safe to call twice.
   *
   * @param forceTimeout ms, or a duration, within which it resolves, also while the database is away; below 2 s it may
   * take up to that. Default 25,000
   */
  close(forceTimeout: Duration = DEFAULT_CLOSE_MS): Promise<void> {
    const timeout = durationIn(forceTimeout, 'forceTimeout', 0, MAX_TIMER_MS);
    this.#closing ??= this.#close(timeout);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #attachWhenConnected(): void {
    this.#detach.push(
      this.#engine.whenConnected(() => {
        clearTimeout(this.#connectTimer);
        const { concurrency, logger } = this.#options;
        checkPool(this.queueName, concurrency, this.#engine.sharedConnections, logger);
        this.#attach();
        if (this.#state === 'running') this.#fetcher.start();
      }),
    );
  }

  #attach(): void {
    const { stalledInterval, maxStalledCount } = this.#options;
    const sources = attachWakeSources(this.#engine, {
      queueName: this.queueName,
      interval: this.#capacity.pollInterval(stalledInterval),
      maxStalledCount,
      wake: () => this.#fetcher.wake(),
      checkLease: (jobId) => this.#leases.check(jobId),
      failed: (error) => void (this.events.has('error') && this.#error(error)), // else it is in the log already
      swept: {
        stalled: (jobId) => this.events.emit('stalled', jobId),
        failed: (stored, error) => this.#endEvents.swept(stored, error),
      },
    });
    this.#unsubscribe = sources.unsubscribe;
    this.#offBeforeClose();
    this.#offBeforeClose = this.#engine.beforeClose(() => this.#closing ?? this.#suspend());
    this.#detach.push(
      sources.detach,
      // Disconnecting the store ends the subscriptions; they are made again with the next connection.
      this.#engine.onClose(() => {
        for (const detach of this.#detach.splice(0)) detach();
        this.#unsubscribe();
        this.#attachWhenConnected();
      }),
    );
  }

  #progressed(): void {
    this.#fetcher.pump();
    this.#condition.changed();
  }

  async #close(timeout: number): Promise<void> {
    const started = this.#state !== 'idle';
    this.#state = 'closed';
    clearTimeout(this.#connectTimer);
    for (const detach of this.#detach.splice(0)) detach();
    if (!started) return;
    await this.#drain(timeout);
    this.#offBeforeClose();
    this.#unsubscribe();
    this.#settler.stop();
    this.#dispatcher.clear();
  }

  /** The store is about to be disconnected: as closing, but the worker goes on with the next connection. */
  async #suspend(): Promise<void> {
    this.#offBeforeClose();
    await this.#drain(DEFAULT_CLOSE_MS);
  }

  #drain(timeout: number): Promise<void> {
    return drain(
      {
        engine: this.#engine,
        fetcher: this.#fetcher,
        capacity: this.#capacity,
        settler: this.#settler,
        dispatcher: this.#dispatcher,
        claimer: this.#claimer,
        condition: this.#condition,
      },
      timeout,
    );
  }

  #error(error: unknown): void {
    this.events.emit('error', asError(error));
  }
}

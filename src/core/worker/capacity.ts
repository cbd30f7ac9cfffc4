import type { RateLimit } from '../../model/store-interface.js';
import { type Isolated, type Isolation, isolation } from './isolation.js';
import { PrefetchEstimate } from './prefetch-estimate.js';

/** With more attempts than this waiting to be settled, no jobs are prefetched. */
const MAX_UNSETTLED = 5_000;
/** Jobs prefetched by a worker of groups, in multiples of its concurrency. */
const GROUP_ROUNDS = 2;

const LIMITED_POLL_MS = 1_000;

export interface CapacityOptions {
  readonly concurrency: number;
  readonly maxGlobalConcurrency: number | undefined;
  readonly limiter: RateLimit | undefined;
  /** Jobs of one batch; undefined: the processor takes single jobs. */
  readonly batchSize: number | undefined;
  readonly group: { readonly limiter: RateLimit | undefined } | undefined;
}

/** How many jobs a worker can start now, and how many it should prefetch beyond that. */
export class Capacity implements Isolated {
  /** Jobs that take up one slot together. */
  readonly batchSize: number;
  readonly #options: CapacityOptions;
  readonly #unsettled: () => number;
  /** Jobs may start that could not before. */
  readonly resume: () => void;
  readonly #isolation: Isolation;
  readonly #estimate = new PrefetchEstimate();
  #running = 0;
  /** A job runs that must be alone. */
  #exclusive = false;
  #left = false;

  /**
   * @param unsettled attempts that have ended and are not settled yet
   * @param resume called when jobs may start that could not before, for those of other workers
   */
  constructor(options: CapacityOptions, unsettled: () => number, resume = () => {}, of = isolation) {
    this.#options = options;
    this.#unsettled = unsettled;
    this.resume = resume;
    this.#isolation = of;
    this.batchSize = options.batchSize ?? 1;
  }

  /** Jobs of other workers count towards a limit too: a waiting job need not be one that can start. */
  get limited(): boolean {
    const { maxGlobalConcurrency, limiter, group } = this.#options;
    return maxGlobalConcurrency !== undefined || limiter !== undefined || group !== undefined;
  }

  /** Longest time between two polls, in ms: under a limit nothing notifies a worker when that allows more. */
  pollInterval(wanted: number): number {
    return this.limited ? Math.min(LIMITED_POLL_MS, wanted) : wanted;
  }

  get idle(): boolean {
    return this.#running === 0;
  }

  /** Jobs that can start now. */
  free(): number {
    if (this.#exclusive || !this.#isolation.mayStart(this)) return 0;
    return (this.#options.concurrency - this.#running) * this.batchSize;
  }

  /** Never more than one job runs in this process. */
  get single(): boolean {
    return this.#options.concurrency === 1 && this.batchSize === 1 && this.#isolation.single;
  }

  /** The worker has started: from now on its jobs count among those of the process. */
  join(): void {
    this.#isolation.join(this);
  }

  /** The worker is closed: handlers that still run do not count any more. */
  leave(): void {
    this.#isolation.leave(this, this.#running);
    this.#left = true;
  }

  /** A job waits to be alone: no other starts, in any worker of the process. False: another one's turn is first. */
  reserve(): boolean {
    return this.#isolation.reserve(this);
  }

  /** None waits any more; one that is alone goes on to be. */
  unreserve(): void {
    if (!this.#exclusive) this.#isolation.release(this);
  }

  /** Nothing runs in the process. */
  get processIdle(): boolean {
    return this.#isolation.idle;
  }

  /** Whether jobs are so short that a statement for each of them would slow them down. */
  get short(): boolean {
    return this.#estimate.short;
  }

  /**
   * Jobs to hold beyond the free slots. None under a rate limit or a limit of active jobs in the queue, because
   * prefetched jobs use it up without running. Under a limit of active jobs per group, a few rounds of what can run.
   */
  prefetch(): number {
    const { concurrency, maxGlobalConcurrency, limiter, group } = this.#options;
    const counted = maxGlobalConcurrency !== undefined || limiter !== undefined || group?.limiter !== undefined;
    if (counted || this.#unsettled() > MAX_UNSETTLED) return 0;
    // While one runs alone, or waits to, others could only be given back.
    if (this.#exclusive || !this.#isolation.mayStart(this)) return 0;
    const jobs = this.#estimate.jobs(concurrency);
    return group ? Math.min(jobs, GROUP_ROUNDS * concurrency) : jobs;
  }

  /** Takes up a slot with so many jobs, or with `exclusive` all slots. Returns what frees it, and may be called twice. */
  take(jobs: number, exclusive = false): () => void {
    this.#running++;
    this.#isolation.begun();
    this.#exclusive = exclusive;
    const startedAt = performance.now();
    let taken = true;
    return () => {
      if (!taken) return;
      taken = false;
      this.#estimate.record((performance.now() - startedAt) / jobs);
      this.#running--;
      if (exclusive) this.#exclusive = false;
      if (this.#left) return;
      this.#isolation.ended();
      if (exclusive) this.unreserve();
    };
  }

  /** Prefetched jobs found no slot in time. */
  prefetchExpired(): void {
    this.#estimate.expired();
  }
}

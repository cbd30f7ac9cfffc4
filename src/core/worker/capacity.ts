import { PrefetchEstimate } from './prefetch-estimate.js';
import type { ResolvedWorkerOptions } from './worker-options.js';

/** Ended jobs that are not settled yet: more than this, and none are claimed ahead. */
const MAX_UNSETTLED = 5_000;
/** Rounds of jobs that a worker of groups holds ahead. */
const GROUP_ROUNDS = 2;

/** How many jobs a worker can start now, and how many it should hold beyond that. */
export class Capacity {
  readonly batchSize: number;
  readonly #options: ResolvedWorkerOptions;
  readonly #unsettled: () => number;
  readonly #estimate = new PrefetchEstimate();
  #running = 0;

  /** @param unsettled ended jobs that are not written down yet */
  constructor(options: ResolvedWorkerOptions, unsettled: () => number) {
    this.#options = options;
    this.#unsettled = unsettled;
    this.batchSize = options.batchSize ?? 1;
  }

  /** Other workers' jobs count as well: that there are jobs does not mean that they can start. */
  get limited(): boolean {
    const { maxGlobalConcurrency, limiter, group } = this.#options;
    return maxGlobalConcurrency !== undefined || limiter !== undefined || group !== undefined;
  }

  get idle(): boolean {
    return this.#running === 0;
  }

  /** Jobs that could start right now. */
  free(): number {
    return (this.#options.concurrency - this.#running) * this.batchSize;
  }

  /**
   * Jobs to hold beyond the free slots. Where the queue or a group has a limit of starts, or the queue one of active
   * jobs, none: they would use it up. Of groups whose active jobs are limited, a few rounds of what can run at once.
   */
  prefetch(): number {
    const { concurrency, maxGlobalConcurrency, limiter, group } = this.#options;
    const counted = maxGlobalConcurrency !== undefined || limiter !== undefined || group?.limiter !== undefined;
    if (counted || this.#unsettled() > MAX_UNSETTLED) return 0;
    const ahead = this.#estimate.ahead(concurrency);
    return group ? Math.min(ahead, GROUP_ROUNDS * concurrency) : ahead;
  }

  /** So many jobs take up a slot, until what it returns is called. */
  take(jobs: number): () => void {
    this.#running++;
    const began = performance.now();
    return () => {
      this.#estimate.took((performance.now() - began) / jobs);
      this.#running--;
    };
  }

  /** Jobs held ahead found no slot in time. */
  prefetchExpired(): void {
    this.#estimate.slow();
  }
}

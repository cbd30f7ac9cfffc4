/** A prefetched job should find a free slot within this time. */
const PREFETCH_MS = 50;
const MAX_PREFETCH = 500;
/** Longer jobs are claimed when a slot is free: the round trip hardly matters beside them. */
const SHORT_MS = 10;
/** Of the newest duration in the moving average. */
const WEIGHT = 0.1;
/** Shorter means count as this much, in ms. */
const MIN_MEAN_MS = 0.05;

/** How many jobs to prefetch, from how long jobs take. */
export class PrefetchEstimate {
  #meanMs: number | undefined;

  /** A job took this long. */
  record(ms: number): void {
    this.#meanMs = this.#meanMs === undefined ? ms : this.#meanMs + WEIGHT * (ms - this.#meanMs);
  }

  /** Prefetched jobs found no slot in time: none are prefetched until short jobs have lowered the average again. */
  expired(): void {
    this.#meanMs = Math.max(this.#meanMs ?? 0, SHORT_MS * 10);
  }

  /** Jobs have been short so far. */
  get short(): boolean {
    return this.#meanMs !== undefined && this.#meanMs <= SHORT_MS;
  }

  /** None before the first job has shown how long they take. */
  jobs(concurrency: number): number {
    const mean = this.#meanMs;
    if (mean === undefined || !this.short) return 0;
    return Math.min(MAX_PREFETCH, Math.ceil((concurrency * PREFETCH_MS) / Math.max(mean, MIN_MEAN_MS)));
  }
}

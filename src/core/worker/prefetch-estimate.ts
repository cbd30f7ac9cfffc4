/** Jobs claimed ahead of a free slot should not wait longer than this for one. */
const AHEAD_MS = 50;
const MAX_AHEAD = 500;
/** Jobs longer than this are fetched when a slot is free: the round trip is small against them. */
const SHORT_MS = 10;
const WEIGHT = 0.1;

/** How long jobs take, and so how many to claim ahead. */
export class PrefetchEstimate {
  #meanMs: number | undefined;

  took(ms: number): void {
    this.#meanMs = this.#meanMs === undefined ? ms : this.#meanMs + WEIGHT * (ms - this.#meanMs);
  }

  /** Jobs claimed ahead found no slot in time. */
  slow(): void {
    this.#meanMs = Math.max(this.#meanMs ?? 0, SHORT_MS * 10);
  }

  /** Nothing before the first job has shown how long they take. */
  ahead(concurrency: number): number {
    const mean = this.#meanMs;
    if (mean === undefined || mean > SHORT_MS) return 0;
    return Math.min(MAX_AHEAD, Math.ceil((concurrency * AHEAD_MS) / Math.max(mean, 0.05)));
  }
}

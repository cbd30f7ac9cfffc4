import { ClosedError } from '../../model/errors.js';
import type { LeasedJob } from './leased-job.js';

export interface ClaimedJobs {
  readonly jobs: LeasedJob[];
  /** Other claims were in the way: there may be more jobs right now. */
  readonly more: boolean;
  /** ms until a rate limit allows the next job; null: none is in the way. */
  readonly opensIn: number | null;
}

export interface FetcherOptions {
  /** Claims up to `limit` jobs. */
  claim(limit: number): Promise<ClaimedJobs>;
  /** Starts jobs; called with at most `free()` of them. */
  start(jobs: LeasedJob[]): void;
  /** Returns jobs to waiting that were claimed and not started; resolves when that is written. Never rejects. */
  release(jobs: LeasedJob[]): Promise<void>;
  /** Jobs that can start now. */
  free(): number;
  /** Jobs to hold beyond that, ready to start, where claiming them one by one would be slower than running them. */
  prefetch(): number;
  failed(error: unknown): void;
}

/** Before claiming again where an open transaction holds the rows, in ms: this, up to twice as long. */
const CONTENDED_MS = 100;
/** After failed claims, in ms: doubling from one to the other. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5_000;
/** Prefetched jobs that find no free slot within this time are released: another worker may have one. */
const PREFETCH_HOLD_MS = 250;
const MAX_CLAIM = 1_000;

/**
 * Decides when to claim jobs, and how many: one claim at a time, for the free slots and a few jobs ahead. A claim that
 * returns fewer jobs than it asked for means that the queue is empty; then the next waits for `wake`.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  #prefetched: LeasedJob[] = [];
  #running = false;
  #claiming: Promise<void> | undefined;
  #mayHaveMore = true;
  /** Jobs are being started: a nested `pump` would start more of them than there are slots. */
  #starting = false;
  #failures = 0;
  #retryAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #prefetchTimer: NodeJS.Timeout | undefined;
  #wakeTimer: NodeJS.Timeout | undefined;

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = true;
    this.wake();
  }

  /** Whether a claim is under way. */
  get claiming(): boolean {
    return this.#claiming !== undefined;
  }

  /** No job starts after this was called; prefetched ones are released. Resolves when no claim is under way. */
  async stop(): Promise<void> {
    this.#running = false;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#prefetchTimer);
    clearTimeout(this.#wakeTimer);
    this.#retryTimer = undefined;
    this.#prefetchTimer = undefined;
    this.#releasePrefetched();
    await this.#claiming;
  }

  /** There may be jobs: claims at once, or as soon as a slot is free. */
  wake(): void {
    this.#mayHaveMore = true;
    // A wake-up shows that the database can be reached: a long retry pause is cut short.
    if (this.#retryTimer) this.#retryIn(RETRY_MIN_MS);
    this.pump();
  }

  /** A slot is free: starts prefetched jobs, and claims if there may be more. */
  pump(): void {
    if (!this.#running || this.#starting) return;
    this.#starting = true;
    // Repeatedly, because `start` skips jobs that were lost or cancelled while they were prefetched.
    for (let free = this.#options.free(); free > 0 && this.#prefetched.length > 0; free = this.#options.free()) {
      this.#options.start(this.#prefetched.splice(0, free));
    }
    this.#starting = false;
    // A listener may have stopped it.
    if (!this.#running) return;
    if (this.#prefetched.length > 0) {
      this.#armPrefetchTimer();
    } else {
      clearTimeout(this.#prefetchTimer);
      this.#prefetchTimer = undefined;
    }
    if (this.#claiming || this.#retryTimer || !this.#mayHaveMore) return;
    const free = this.#options.free();
    const prefetch = this.#options.prefetch();
    // A claim for every started job would be many small ones: wait until half of the prefetched jobs are started.
    if (free <= 0 && this.#prefetched.length > prefetch / 2) return;
    const limit = Math.min(MAX_CLAIM, free + prefetch - this.#prefetched.length);
    if (limit > 0) this.#claim(limit);
  }

  #claim(limit: number): void {
    this.#mayHaveMore = false;
    this.#claiming = this.#options
      .claim(limit)
      .then(
        async ({ jobs, more, opensIn }) => {
          this.#failures = 0;
          if (jobs.length >= limit || (more && jobs.length > 0)) this.#mayHaveMore = true;
          this.#prefetched.push(...(await this.#withoutRisky(jobs)));
          if (!this.#running) this.#releasePrefetched();
          else if (opensIn !== null) this.#wakeIn(opensIn);
          // An open transaction holds the rows: claiming at once would fail in the same way.
          else if (more && jobs.length === 0) this.#wakeIn(CONTENDED_MS * (1 + Math.random()));
        },
        (error) => {
          this.#mayHaveMore = true;
          if (!this.#running) return;
          // The store was disconnected: it may be connected again.
          if (!(error instanceof ClosedError)) this.#options.failed(error);
          const delay = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.#failures++);
          this.#retryIn(delay * (0.5 + Math.random()));
        },
      )
      .then(() => {
        this.#claiming = undefined;
        this.pump();
      });
  }

  /**
   * Releases jobs that have stalled before and cannot start now. One of them may crash its worker: the prefetched jobs
   * would stall with it, and in the end fail without ever having run. They are released before any other job starts.
   */
  async #withoutRisky(jobs: LeasedJob[]): Promise<LeasedJob[]> {
    const slots = this.#options.free();
    const risky = new Set(jobs.filter(({ stored }, i) => stored.stalledCount > 0 && i >= slots));
    if (risky.size === 0) return jobs;
    await this.#options.release([...risky]);
    return jobs.filter((job) => !risky.has(job));
  }

  /** After a failure. Of two calls the earlier time applies. */
  #retryIn(ms: number): void {
    const at = performance.now() + ms;
    if (this.#retryTimer && this.#retryAt <= at) return;
    clearTimeout(this.#retryTimer);
    this.#retryAt = at;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.pump();
    }, ms);
    this.#retryTimer.unref();
  }

  #wakeIn(ms: number): void {
    clearTimeout(this.#wakeTimer);
    this.#wakeTimer = setTimeout(() => this.wake(), ms);
    this.#wakeTimer.unref();
  }

  #armPrefetchTimer(): void {
    this.#prefetchTimer ??= setTimeout(() => {
      this.#prefetchTimer = undefined;
      this.#releasePrefetched();
    }, PREFETCH_HOLD_MS);
  }

  #releasePrefetched(): void {
    const jobs = this.#prefetched;
    this.#prefetched = [];
    if (jobs.length === 0) return;
    this.#mayHaveMore = true;
    void this.#options.release(jobs);
  }
}

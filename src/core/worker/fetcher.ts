import { ClosedError } from '../../model/errors.js';
import { MAX_CLAIM_BYTES } from '../../store/claim/bytes.js';
import type { LeasedJob } from './leased-job.js';

export interface ClaimedJobs {
  readonly jobs: LeasedJob[];
  /** Other claims were in the way, or payloads are large: there may be more jobs right now. */
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
  /** Nothing runs in this process. */
  idle(): boolean;
  /** A job waits to be alone: no other starts in this process. False: one of another worker is first. */
  reserve(): boolean;
  /** None waits any more. */
  unreserve(): void;
  /** The job may start only when nothing runs, and nothing else while it runs. */
  mustBeAlone(job: LeasedJob): boolean;
  /** Puts off a job that must be alone and could not be, by `delayMs`. Never rejects. */
  postpone(job: LeasedJob, delayMs: number): Promise<void>;
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
/**
 * A job that must be alone waits this long for those that run, in ms, while no others start. Then it is put off by up to
 * as long, so that they can. Where that does not help it waits twice as long each time, in the end for the longest ones.
 */
const ALONE_HOLD_MS = 60_000;
const MAX_ALONE_HOLD_MS = 86_400_000;
const MAX_CLAIM = 1_000;
/** With prefetched payloads of this length, no more jobs are claimed: parsed, they take up a multiple of it. */
const MAX_PREFETCHED_LENGTH = MAX_CLAIM_BYTES / 4;

/**
 * Decides when to claim jobs, and how many: one claim at a time, for the free slots and a few jobs ahead. A claim that
 * returns fewer jobs than it asked for means that the queue is empty; then the next waits for `wake`.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #prefetched: LeasedJob[] = [];
  #running = false;
  #claiming: Promise<void> | undefined;
  #mayHaveMore = true;
  /** Jobs are being started: a nested `pump` would start more of them than there are slots. */
  #starting = false;
  #failures = 0;
  #retryAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #prefetchTimer: NodeJS.Timeout | undefined;
  #aloneTimer: NodeJS.Timeout | undefined;
  /** The job that `aloneTimer` runs for. */
  #held: LeasedJob | undefined;
  #aloneHoldMs = ALONE_HOLD_MS;
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
    this.#clearAloneTimer();
    this.#retryTimer = undefined;
    this.#prefetchTimer = undefined;
    this.#releasePrefetched();
    this.#options.unreserve();
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
    if (this.#options.idle()) this.#aloneHoldMs = ALONE_HOLD_MS;
    // Repeatedly, because `start` skips jobs that were lost or cancelled while they were prefetched.
    for (let n = this.#startable(); n > 0; n = this.#startable()) this.#options.start(this.#prefetched.splice(0, n));
    this.#starting = false;
    // A listener may have stopped it.
    if (!this.#running) return;
    if (this.#waitsToBeAlone) this.#options.reserve();
    else this.#options.unreserve();
    if (this.#prefetched.length > 0) {
      this.#armTimers();
    } else {
      clearTimeout(this.#prefetchTimer);
      this.#prefetchTimer = undefined;
      this.#clearAloneTimer();
    }
    if (this.#claiming || this.#retryTimer || !this.#mayHaveMore || this.#waitsToBeAlone) return;
    const free = this.#options.free();
    const prefetch = this.#options.prefetch();
    // A claim for every started job would be many small ones: wait until half of the prefetched jobs are started.
    if (free <= 0 && this.#prefetched.length > prefetch / 2) return;
    const limit = Math.min(MAX_CLAIM, free + prefetch - this.#prefetched.length);
    if (limit > 0 && this.#prefetchedLength < MAX_PREFETCHED_LENGTH) this.#claim(limit);
  }

  /** Of the payloads, in characters of JSON text. */
  get #prefetchedLength(): number {
    return this.#prefetched.reduce((sum, { stored }) => sum + stored.payloadLength, 0);
  }

  /** How many of the prefetched jobs can start now, from the first one on. */
  #startable(): number {
    const free = Math.min(this.#options.free(), this.#prefetched.length);
    for (let i = 0; i < free; i++) {
      if (!this.#options.mustBeAlone(this.#prefetched[i] as LeasedJob)) continue;
      if (i > 0) return i;
      return this.#options.reserve() && this.#options.idle() ? 1 : 0;
    }
    return free;
  }

  /** The next job is one that must be alone: nothing else starts until it has. */
  get #waitsToBeAlone(): boolean {
    const [next] = this.#prefetched;
    return next !== undefined && this.#options.mustBeAlone(next);
  }

  #claim(limit: number): void {
    this.#mayHaveMore = false;
    this.#claiming = this.#options
      .claim(limit)
      .then(
        ({ jobs, more, opensIn }) => {
          this.#failures = 0;
          if (jobs.length >= limit || (more && jobs.length > 0)) this.#mayHaveMore = true;
          this.#prefetched.push(...jobs);
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

  #armTimers(): void {
    this.#prefetchTimer ??= setTimeout(() => {
      this.#prefetchTimer = undefined;
      this.#releasePrefetched(this.#waitsToBeAlone ? 1 : 0);
    }, PREFETCH_HOLD_MS);
    const held = this.#waitsToBeAlone ? this.#prefetched[0] : undefined;
    if (held === this.#held) return;
    this.#clearAloneTimer();
    this.#held = held;
    if (held) this.#aloneTimer = setTimeout(() => this.#postpone(held), this.#aloneHoldMs);
  }

  #clearAloneTimer(): void {
    clearTimeout(this.#aloneTimer);
    this.#held = undefined;
  }

  #postpone(job: LeasedJob): void {
    this.#held = undefined;
    if (this.#prefetched[0] !== job) return;
    this.#prefetched.shift();
    void this.#options.postpone(job, this.#aloneHoldMs * (0.5 + Math.random() / 2));
    this.#aloneHoldMs = Math.min(MAX_ALONE_HOLD_MS, 2 * this.#aloneHoldMs);
    this.pump();
  }

  #releasePrefetched(except = 0): void {
    const jobs = this.#prefetched.splice(except);
    if (jobs.length === 0) return;
    this.#mayHaveMore = true;
    void this.#options.release(jobs);
  }
}

import { ClosedError } from '../../model/errors.js';
import type { Claimed } from '../../store/claim/dispatch.js';
import type { StoredJob } from '../../store/rows/job-row.js';

export interface FetcherOptions {
  /** Takes up to `limit` jobs under a lease. */
  claim(limit: number): Promise<Claimed>;
  /** Puts jobs to work; called with no more than `free()` asks for. */
  start(jobs: StoredJob[]): void;
  /** Gives jobs back that were claimed but not started; resolves when that is written. Never rejects. */
  release(jobs: StoredJob[]): Promise<void>;
  /** Jobs that could start right now. */
  free(): number;
  /** Jobs to hold beyond that, ready to start: they are short, and fetching them one by one would be slower. */
  ahead(): number;
  failed(error: unknown): void;
}

const CONTENDED_MS = 100;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5_000;
/** Claimed jobs that find no free slot for so long go back: another worker may have one. */
const PREFETCH_HOLD_MS = 250;
const MAX_CLAIM = 1_000;

/**
 * Decides when to claim and how much: one claim at a time, as many jobs as there are free slots and a little ahead.
 * A claim that comes back short means that the queue is empty; then it waits to be woken.
 */
export class Fetcher {
  readonly #options: FetcherOptions;
  #prefetched: StoredJob[] = [];
  #running = false;
  #claiming: Promise<void> | undefined;
  #mayHaveMore = true;
  /** Jobs are being put to work: what that sets off must not put more to work than there are slots. */
  #starting = false;
  #failures = 0;
  #retryAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #prefetchTimer: NodeJS.Timeout | undefined;
  #openTimer: NodeJS.Timeout | undefined;

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

  /** No job starts any more after this returns; what was claimed goes back. Resolves when no claim is under way. */
  async stop(): Promise<void> {
    this.#running = false;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#prefetchTimer);
    clearTimeout(this.#openTimer);
    this.#retryTimer = undefined;
    this.#prefetchTimer = undefined;
    this.#releasePrefetched();
    await this.#claiming;
  }

  /** There may be jobs: look, at once or as soon as a slot is free. */
  wake(): void {
    this.#mayHaveMore = true;
    // Who says so has reached the database: no need to wait until a long pause is over.
    if (this.#retryTimer) this.#retryIn(RETRY_MIN_MS);
    this.pump();
  }

  /** A slot became free. */
  pump(): void {
    if (!this.#running || this.#starting) return;
    this.#starting = true;
    // Again, for some of those taken may have been lost or cancelled while they waited.
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
    const room = this.#options.free();
    const ahead = this.#options.ahead();
    // Claiming again for every job taken from the shelf would undo the batching: wait until half of it is gone.
    if (room <= 0 && this.#prefetched.length > ahead / 2) return;
    const want = Math.min(MAX_CLAIM, room + ahead - this.#prefetched.length);
    if (want > 0) this.#claim(want);
  }

  #claim(want: number): void {
    this.#mayHaveMore = false;
    this.#claiming = this.#options
      .claim(want)
      .then(
        async ({ jobs, more, opensIn }) => {
          this.#failures = 0;
          if (jobs.length >= want || (more && jobs.length > 0)) this.#mayHaveMore = true;
          this.#prefetched.push(...(await this.#withoutRisky(jobs)));
          if (!this.#running) this.#releasePrefetched();
          else if (opensIn !== null) this.#wakeIn(opensIn);
          // Somebody's open transaction is in the way: no use in asking at once.
          else if (more && jobs.length === 0) this.#wakeIn(CONTENDED_MS * (1 + Math.random()));
        },
        (error) => {
          this.#mayHaveMore = true;
          if (!this.#running || error instanceof ClosedError) return;
          this.#options.failed(error);
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
   * Jobs that have lost a worker are taken for free slots only: one of them may be what kills workers, and those that
   * are at hand then would be lost with it without ever having run, once too often in the end. They are back before
   * any of the others starts.
   */
  async #withoutRisky(jobs: StoredJob[]): Promise<StoredJob[]> {
    const slots = this.#options.free();
    const risky = new Set(jobs.filter(({ stalledCount }, i) => stalledCount > 0 && i >= slots));
    if (risky.size === 0) return jobs;
    await this.#options.release([...risky]);
    return jobs.filter((job) => !risky.has(job));
  }

  /** After a failure; the earlier of two wins. */
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

  /** A rate limit lets something through again then. */
  #wakeIn(ms: number): void {
    clearTimeout(this.#openTimer);
    this.#openTimer = setTimeout(() => this.wake(), ms);
    this.#openTimer.unref();
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

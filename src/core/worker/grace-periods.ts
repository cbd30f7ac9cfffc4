import type { LeasedJob } from './leased-job.js';

export interface GracePeriodsOptions {
  /** From the abort of a handler's signal, in ms. */
  readonly grace: number;
  /** The handler has not returned in that time. */
  expired(job: LeasedJob): void;
}

/** How long handlers may go on whose signals have aborted. */
export class GracePeriods {
  readonly #options: GracePeriodsOptions;
  readonly #timers = new Map<LeasedJob, NodeJS.Timeout>();

  constructor(options: GracePeriodsOptions) {
    this.#options = options;
  }

  begin(job: LeasedJob): void {
    if (this.#timers.has(job)) return;
    const timer = setTimeout(() => this.expire(job), this.#options.grace);
    // A handler that is abandoned must not keep the process alive.
    timer.unref();
    this.#timers.set(job, timer);
  }

  /** Ends the period at once. No effect when none has begun, or the handler has returned. */
  expire(job: LeasedJob): void {
    if (this.end(job)) this.#options.expired(job);
  }

  clear(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** The handler has returned. True when a period had begun. */
  end(job: LeasedJob): boolean {
    if (this.#timers.size === 0) return false;
    clearTimeout(this.#timers.get(job));
    return this.#timers.delete(job);
  }
}

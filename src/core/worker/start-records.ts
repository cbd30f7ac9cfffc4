import type { LeasedJob } from './leased-job.js';
import { startsUnrecorded } from './leases.js';

/** Handlers that run for one to two of these have their start recorded, in ms. */
const INTERVAL_MS = 50;

export interface StartRecordsOptions {
  leased(): LeasedJob[];
  /** Writes that the job's handler has started. Never rejects. */
  record(job: LeasedJob): Promise<void>;
}

/**
 * Records the start of handlers that are expected to be short, and therefore only once they have run for a while: a
 * statement for each would cost as much as the job.
 */
export class StartRecords {
  readonly #options: StartRecordsOptions;
  #timer: NodeJS.Timeout | undefined;
  /** Had started, and were not recorded, when the timer last fired. */
  #seen = new Set<LeasedJob>();

  constructor(options: StartRecordsOptions) {
    this.#options = options;
  }

  /** Handlers have started whose start is not recorded. */
  expect(): void {
    if (this.#timer) return;
    this.#timer = setTimeout(() => this.#check(), INTERVAL_MS);
    this.#timer.unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#seen.clear();
  }

  #check(): void {
    this.#timer = undefined;
    const { leased, record } = this.#options;
    const unrecorded = leased().filter((job) => startsUnrecorded(job) && !job.attempt.ended);
    for (const job of unrecorded) if (this.#seen.has(job)) void record(job);
    this.#seen = new Set(unrecorded);
    if (unrecorded.length > 0) this.expect();
  }
}

import type { LeasedJob } from './leased-job.js';
import { startsUnrecorded } from './leases.js';

/** Handlers that run for one to two of these have their start recorded, in ms. */
const INTERVAL_MS = 50;
/** Doubles up to this while a record is not answered or fails. */
const MAX_INTERVAL_MS = 5_000;

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
  /** Of these the record was sent then. */
  #sent = new Set<LeasedJob>();
  #interval = INTERVAL_MS;

  constructor(options: StartRecordsOptions) {
    this.#options = options;
  }

  /** Handlers have started whose start is not recorded. */
  expect(): void {
    if (this.#timer) return;
    this.#timer = setTimeout(() => this.#check(), this.#interval);
    this.#timer.unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#seen.clear();
    this.#sent.clear();
  }

  #check(): void {
    this.#timer = undefined;
    const { leased, record } = this.#options;
    const unrecorded = leased().filter((job) => startsUnrecorded(job) && !job.attempt.ended);
    const due = unrecorded.filter((job) => this.#seen.has(job));
    const again = due.some((job) => this.#sent.has(job));
    this.#interval = again ? Math.min(MAX_INTERVAL_MS, 2 * this.#interval) : INTERVAL_MS;
    for (const job of due) void record(job);
    this.#seen = new Set(unrecorded);
    this.#sent = new Set(due);
    if (unrecorded.length > 0) this.expect();
  }
}

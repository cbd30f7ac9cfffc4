import type { Logger } from '../../model/logger.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import type { EventBus } from '../event-bus.js';
import { Job } from '../job/job.js';
import type { JobSource } from '../job/job-fields.js';
import type { JobOf } from '../job/typed-job.js';
import { SettledJob, type SettledListeners } from './announce-settled.js';
import type { SettledAttempt } from './leased-job.js';
import { logFailure } from './worker-log.js';
import type { WorkerEvents } from './worker-types.js';

/** A worker's events about the ends of attempts. Their jobs are made only where there is a listener. */
export class EndEvents implements SettledListeners {
  readonly #events: EventBus<WorkerEvents<unknown>>;
  readonly #store: PgStore;
  readonly #logger: Logger;

  constructor(events: EventBus<WorkerEvents<unknown>>, store: PgStore, logger: Logger) {
    this.#events = events;
    this.#store = store;
    this.#logger = logger;
  }

  completed(stored: StoredJob, attempt: SettledAttempt, result: unknown): void {
    if (!this.#events.has('completed')) return;
    this.#events.emit('completed', { job: this.#job(new SettledJob(stored, attempt)), result });
  }

  failed(stored: StoredJob, attempt: SettledAttempt, error: Error): void {
    this.#failed(new SettledJob(stored, attempt), error);
  }

  /** The job has failed without an attempt of this worker. */
  swept(stored: StoredJob, error: Error): void {
    this.#failed(stored, error);
  }

  retrying(stored: StoredJob, attempt: SettledAttempt, error: Error): void {
    if (!this.#events.has('retrying')) return;
    const job = this.#job(new SettledJob(stored, attempt));
    const delay = attempt.settlement.delayMs ?? 0;
    this.#events.emit('retrying', { job, error, attemptsMade: job.attemptsMade, delay });
  }

  /** Without a listener the end of a job is logged, so that it does not go unnoticed. */
  #failed(source: JobSource<unknown>, error: Error): void {
    if (this.#events.has('failed')) this.#events.emit('failed', { job: this.#job(source), error });
    else logFailure(source.job, this.#logger);
  }

  #job(source: JobSource<unknown>): JobOf<unknown> {
    return new Job(source, this.#store) as JobOf<unknown>;
  }
}

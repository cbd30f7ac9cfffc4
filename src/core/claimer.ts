import { type Claimed, claimWithin } from '../store/claim-dispatch.js';
import type { Engine } from '../store/engine.js';
import type { StoredJob } from '../store/job-row.js';
import { releaseUnknown } from '../store/lease.js';
import type { ResolvedWorkerOptions } from './worker-options.js';

export interface ClaimerOptions {
  readonly engine: Engine;
  readonly queueName: string;
  readonly workerId: string;
  readonly worker: ResolvedWorkerOptions;
  /** Called with each job that was taken, and `performance.now()` when it was asked for. */
  hold(stored: StoredJob, askedAt: number): void;
  /** Ids of the jobs in the worker's hands. */
  held(): string[];
}

/** Takes jobs under a lease, and gives back those that it took without hearing of it. */
export class Claimer {
  readonly #options: ClaimerOptions;
  #unsure = false;

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  /** The last claim has not answered: it may have taken jobs. */
  get unsure(): boolean {
    return this.#unsure;
  }

  async claim(limit: number): Promise<Claimed> {
    const { engine, queueName, workerId, worker, hold } = this.#options;
    const { lockDuration, lifo, limiter, maxGlobalConcurrency, group } = worker;
    const { executor } = engine;
    if (this.#unsure) await this.releaseUnknown();
    // Until it has answered: a claim may have taken jobs and its answer be lost.
    this.#unsure = true;
    const asked = performance.now();
    const claimed = await claimWithin(executor, {
      queueName,
      workerId,
      lockDuration,
      limit,
      lifo,
      rateLimit: limiter,
      maxGlobalConcurrency,
      groupConcurrency: group && (group.concurrency ?? Number.MAX_SAFE_INTEGER),
      groupLimiter: group?.limiter,
    });
    this.#unsure = false;
    for (const stored of claimed.jobs) hold(stored, asked);
    return claimed;
  }

  async releaseUnknown(): Promise<void> {
    const { engine, queueName, workerId, held } = this.#options;
    if (await releaseUnknown(engine.executor, queueName, workerId, held())) engine.hub.ring(queueName);
  }
}

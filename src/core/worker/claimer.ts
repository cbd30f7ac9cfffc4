import { inOrder, type Watermark } from '../../store/claim/claim.js';
import { type Claimed, claimWithin } from '../../store/claim/dispatch.js';
import { releaseUnknownLeases } from '../../store/lease/renew.js';
import type { StoredJob } from '../../store/rows/job-row.js';
import type { Engine } from '../../store/runtime/engine.js';
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

/** A claim that takes longer, in ms, may be reading through what it cannot take, such as rows long gone. */
const SLOW_MS = 10;
/** Then the next ones go on where it ended for so many times as long, */
const GO_ON = 5;
/** or for so many ms at most: what has come to stand before it (a smaller priority, a late commit) waits meanwhile. */
const GO_ON_MS = 1_000;

/** Takes jobs under a lease, and gives back those that it took without hearing of it. */
export class Claimer {
  readonly #options: ClaimerOptions;
  #unsure = false;
  /** Where the last claim ended, and until when (`performance.now()`) the next may begin there. */
  #last: Watermark | undefined;
  #goOnUntil = 0;

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  /** The last claim has not answered: it may have taken jobs. */
  get unsure(): boolean {
    return this.#unsure;
  }

  async claim(limit: number): Promise<Claimed> {
    if (this.#unsure) await this.releaseUnknown();
    const from = performance.now() < this.#goOnUntil ? this.#last : undefined;
    if (!from) return this.#claim(limit, undefined);
    const claimed = await this.#claim(limit, from);
    if (claimed.jobs.length >= limit) return claimed;
    // Behind it there is no more: perhaps before it.
    try {
      const others = await this.#claim(limit - claimed.jobs.length, undefined);
      return { ...others, jobs: inOrder([...claimed.jobs, ...others.jobs], false) };
    } catch (error) {
      // Those that were taken must not be lost with it.
      if (claimed.jobs.length === 0) throw error;
      return { ...claimed, more: true };
    }
  }

  async #claim(limit: number, from: Watermark | undefined): Promise<Claimed> {
    const { engine, queueName, workerId, worker, hold } = this.#options;
    const { lockDuration, lifo, limiter, maxGlobalConcurrency, group } = worker;
    // Until it has answered: a claim may have taken jobs and its answer be lost.
    this.#unsure = true;
    const asked = performance.now();
    const claimed = await claimWithin(engine.executor, {
      queueName,
      workerId,
      lockDuration,
      limit,
      lifo,
      from,
      rateLimit: limiter,
      maxGlobalConcurrency,
      groupConcurrency: group && (group.concurrency ?? Number.MAX_SAFE_INTEGER),
      groupLimiter: group?.limiter,
    });
    this.#unsure = false;
    for (const stored of claimed.jobs) hold(stored, asked);
    // Newest first and by groups is another order than that of the index.
    if (!lifo && !group) this.#note(claimed.jobs, limit, from, performance.now() - asked);
    return claimed;
  }

  #note(jobs: readonly StoredJob[], limit: number, from: Watermark | undefined, took: number): void {
    this.#last = jobs.at(-1);
    if (jobs.length < limit) this.#goOnUntil = 0;
    else if (!from && took > SLOW_MS) this.#goOnUntil = performance.now() + Math.min(GO_ON_MS, GO_ON * took);
  }

  async releaseUnknown(): Promise<void> {
    const { engine, queueName, workerId, held } = this.#options;
    if (await releaseUnknownLeases(engine.executor, queueName, workerId, held())) engine.notifier.wake(queueName);
  }
}

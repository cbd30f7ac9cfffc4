import { mayBeCut } from '../../store/claim/bytes.js';
import type { Watermark } from '../../store/claim/claim.js';
import { claimSparing } from '../../store/claim/dispatch.js';
import { type Limits, resolveLimits } from '../../store/claim/limits.js';
import { releaseUnknownLeases } from '../../store/lease/renew.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { ClaimedJobs } from './fetcher.js';
import type { LeasedJob } from './leased-job.js';
import type { ResolvedWorkerOptions } from './worker-options.js';

export interface ClaimerOptions {
  readonly engine: Engine;
  readonly queueName: string;
  readonly workerId: string;
  readonly worker: ResolvedWorkerOptions;
  /** Takes charge of a claimed job; `claimedAt` is `performance.now()` when the claim was sent. */
  lease(stored: StoredJob, claimedAt: number): LeasedJob;
  /** Ids of all jobs under the worker's leases. */
  leasedIds(): string[];
}

/** A claim that takes longer, in ms, may be reading through rows that it cannot take, such as dead ones. */
const SLOW_MS = 10;
/** Then the following claims start at its end, for this many times as long, */
const SKIP_FACTOR = 5;
/** but no longer than this, in ms, because jobs before that point wait meanwhile: a lower priority, a late commit. */
const MAX_SKIP_MS = 1_000;

const inOrder = (jobs: LeasedJob[]) =>
  jobs.sort(({ stored: a }, { stored: b }) => a.priority - b.priority || a.seq - b.seq);

/** Claims jobs, and releases those whose claim was not answered. */
export class Claimer {
  readonly #options: ClaimerOptions;
  readonly #limits: Limits;
  #unanswered = false;
  /** Where the last claim ended, and until when (`performance.now()`) the next may start there. */
  #last: Watermark | undefined;
  #skipUntil = 0;

  constructor(options: ClaimerOptions) {
    this.#options = options;
    const { limiter, maxGlobalConcurrency, group } = options.worker;
    this.#limits = resolveLimits({
      rateLimit: limiter,
      maxGlobalConcurrency,
      groupConcurrency: group && (group.concurrency ?? Number.MAX_SAFE_INTEGER),
      groupLimiter: group?.limiter,
    });
  }

  /** The last claim failed without an answer: it may have taken jobs. */
  get unanswered(): boolean {
    return this.#unanswered;
  }

  /** Jobs go back to before where the last claim ended: the next one begins at the start. */
  rewind(): void {
    this.#skipUntil = 0;
  }

  async claim(limit: number): Promise<ClaimedJobs> {
    if (this.#unanswered) await this.releaseUnknown();
    const from = performance.now() < this.#skipUntil ? this.#last : undefined;
    if (!from) return this.#claim(limit, undefined);
    const claimed = await this.#claim(limit, from);
    if (claimed.jobs.length >= limit || claimed.more) return claimed;
    // No more jobs follow that point; there may be some before it.
    try {
      const earlier = await this.#claim(limit - claimed.jobs.length, undefined);
      return { ...earlier, jobs: inOrder([...claimed.jobs, ...earlier.jobs]) };
    } catch (error) {
      // The jobs of the first claim must not be lost with the error of the second.
      if (claimed.jobs.length === 0) throw error;
      return { ...claimed, more: true };
    }
  }

  async #claim(limit: number, from: Watermark | undefined): Promise<ClaimedJobs> {
    const { engine, queueName, workerId, worker, lease } = this.#options;
    const { lockDuration, lifo, group } = worker;
    // Until the answer is here: a claim may have taken jobs although its answer is lost.
    this.#unanswered = true;
    const sentAt = performance.now();
    const request = { queueName, workerId, lockDuration, limit, lifo, from };
    const claimed = await claimSparing(engine.executor, request, this.#limits, engine.setAside);
    this.#unanswered = false;
    const jobs = claimed.jobs.map((stored) => lease(stored, sentAt));
    const { endsIn } = engine.setAside;
    if (endsIn !== undefined) engine.poller.expect(queueName, endsIn);
    // For the others that have passed over rows which this claim locked and left for their size.
    if (jobs.length < limit && mayBeCut(claimed.jobs)) engine.notifier.wake(queueName);
    // Only the plain order is that of the index, in which a claim can start anywhere.
    if (!lifo && !group) this.#noteEnd(claimed.jobs, limit, from, performance.now() - sentAt);
    return { ...claimed, jobs };
  }

  #noteEnd(jobs: readonly StoredJob[], limit: number, from: Watermark | undefined, durationMs: number): void {
    this.#last = jobs.at(-1);
    if (jobs.length < limit) this.#skipUntil = 0;
    else if (!from && durationMs > SLOW_MS) {
      this.#skipUntil = performance.now() + Math.min(MAX_SKIP_MS, SKIP_FACTOR * durationMs);
    }
  }

  /** Returns jobs to waiting that are leased to this worker in the database only. */
  async releaseUnknown(): Promise<void> {
    const { engine, queueName, workerId, leasedIds } = this.#options;
    if (await releaseUnknownLeases(engine.executor, queueName, workerId, leasedIds())) engine.notifier.wake(queueName);
  }
}

import { withDeadline } from '../../db/deadline.js';
import { ConnectionError } from '../../model/errors.js';
import type { Logger } from '../../model/logger.js';
import { errorText } from '../../model/payload/values.js';
import { type Renewed, renew } from '../../store/lease/renew.js';
import type { StoredJob } from '../../store/rows/job-row.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { Attempt } from '../job/attempt.js';

/** A job in a worker's hands: claimed, running, or on its way to be settled. */
export interface LeasedJob {
  readonly stored: StoredJob;
  readonly attempt: Attempt;
  /** `performance.now()` when the lease was last asked for and granted. */
  confirmedAt: number;
}

export interface LeaseCallbacks {
  lost(held: LeasedJob): void;
  cancelled(held: LeasedJob): void;
}

/** A lease is renewed three times in its duration: two renewals may fail. */
const RENEWALS = 3;

/** Keeps the leases of everything a worker holds, in one statement for all. */
export class Leases {
  readonly #engine: Engine;
  readonly #workerId: string;
  readonly #lockDuration: number;
  readonly #callbacks: LeaseCallbacks;
  readonly #logger: Logger;
  readonly #held = new Map<string, LeasedJob>();
  #suspects = new Set<LeasedJob>();
  #checked = new Set<LeasedJob>();
  #checking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: Engine, workerId: string, lockDuration: number, logger: Logger, callbacks: LeaseCallbacks) {
    this.#engine = engine;
    this.#workerId = workerId;
    this.#lockDuration = lockDuration;
    this.#logger = logger;
    this.#callbacks = callbacks;
  }

  get(id: string): LeasedJob | undefined {
    return this.#held.get(id);
  }

  add(held: LeasedJob): void {
    this.#held.set(held.stored.job.id, held);
    if (this.#timer) return;
    this.#timer = setInterval(() => void this.#renew(this.all()), this.#period);
    this.#timer.unref();
  }

  delete(held: LeasedJob): void {
    const { id } = held.stored.job;
    // The same job may be in our hands again by now, under a newer lease.
    if (this.#held.get(id) === held) this.#held.delete(id);
    if (this.#held.size === 0) this.#stop();
  }

  all(): LeasedJob[] {
    return [...this.#held.values()];
  }

  clear(): void {
    this.#held.clear();
    this.#stop();
  }

  /**
   * Somebody says that this job was cancelled, or is not ours any more. That is a hint, and may be about the time
   * before we took it: the database knows.
   */
  check(id: string): void {
    const held = this.#held.get(id);
    if (!held || held.attempt.ended) return;
    this.#suspects.add(held);
    if (!this.#checking) void this.#checkSuspects();
  }

  /** It is being checked. */
  isSuspect(held: LeasedJob): boolean {
    return this.#suspects.has(held) || this.#checked.has(held);
  }

  async #checkSuspects(): Promise<void> {
    this.#checking = true;
    while (this.#suspects.size > 0) {
      this.#checked = this.#suspects;
      this.#suspects = new Set();
      await this.#renew([...this.#checked]);
    }
    this.#checked = new Set();
    this.#checking = false;
  }

  get #period(): number {
    return Math.max(1, this.#lockDuration / RENEWALS);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Never rejects. */
  async #renew(held: readonly LeasedJob[]): Promise<void> {
    const asked = performance.now();
    try {
      const renewed = new Map((await this.#ask(held)).map((r) => [`${r.id} ${r.lease}`, r]));
      for (const one of held) {
        const answer = renewed.get(`${one.stored.job.id} ${one.stored.lease}`);
        if (answer) {
          one.confirmedAt = Math.max(one.confirmedAt, asked);
          if (answer.cancelled) this.#callbacks.cancelled(one);
        } else if (!one.attempt.ended) {
          this.#callbacks.lost(one);
        }
      }
    } catch (error) {
      // The next one may work; the lease outlives two that do not.
      this.#logger.warn(`conveyor: could not renew ${held.length} lease(s): ${errorText(error).message}`);
      this.#giveUpExpired();
    }
  }

  /** One that hangs must not keep the next from being made: by then it counts as failed. */
  async #ask(held: readonly LeasedJob[]): Promise<Renewed[]> {
    const holds = held.map(({ stored: { job, lease } }) => ({
      queueName: job.queueName,
      id: job.id,
      lease,
      workerId: this.#workerId,
    }));
    const period = this.#period;
    return withDeadline(
      renew(this.#engine.executor, holds, this.#lockDuration),
      period,
      () => new ConnectionError(`no answer within ${Math.round(period)} ms`),
    );
  }

  /**
   * The database did not confirm a lease for its whole duration: somebody else may have the job by now. Only after a
   * renewal was tried and failed, so that a long block of the event loop alone costs nobody his lease.
   */
  #giveUpExpired(): void {
    const limit = performance.now() - this.#lockDuration;
    for (const one of this.all()) {
      if (one.confirmedAt < limit && !one.attempt.ended) this.#callbacks.lost(one);
    }
  }
}

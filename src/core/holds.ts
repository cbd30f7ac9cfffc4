import type { Logger } from '../model/logger.js';
import type { Engine } from '../store/engine.js';
import type { StoredJob } from '../store/job-row.js';
import { renew } from '../store/lease.js';
import type { Attempt } from './attempt.js';

/** A job in a worker's hands: claimed, running, or on its way to be settled. */
export interface Held {
  readonly stored: StoredJob;
  readonly attempt: Attempt;
  /** `performance.now()` when the lease was last asked for and granted. */
  confirmedAt: number;
}

export interface HoldCallbacks {
  lost(held: Held): void;
  cancelled(held: Held): void;
}

/** A lease is renewed three times in its duration: two renewals may fail. */
const RENEWALS = 3;

/** Keeps the leases of everything a worker holds, in one statement for all. */
export class Holds {
  readonly #engine: Engine;
  readonly #workerId: string;
  readonly #lockDuration: number;
  readonly #callbacks: HoldCallbacks;
  readonly #logger: Logger;
  readonly #held = new Map<string, Held>();
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;

  constructor(engine: Engine, workerId: string, lockDuration: number, logger: Logger, callbacks: HoldCallbacks) {
    this.#engine = engine;
    this.#workerId = workerId;
    this.#lockDuration = lockDuration;
    this.#logger = logger;
    this.#callbacks = callbacks;
  }

  get size(): number {
    return this.#held.size;
  }

  get(id: string): Held | undefined {
    return this.#held.get(id);
  }

  add(held: Held): void {
    this.#held.set(held.stored.job.id, held);
    if (this.#timer) return;
    this.#timer = setInterval(() => void this.#renew(), Math.max(1, this.#lockDuration / RENEWALS));
    this.#timer.unref();
  }

  delete(held: Held): void {
    const { id } = held.stored.job;
    // The same job may be in our hands again by now, under a newer lease.
    if (this.#held.get(id) === held) this.#held.delete(id);
    if (this.#held.size === 0) this.#stop();
  }

  all(): Held[] {
    return [...this.#held.values()];
  }

  clear(): void {
    this.#held.clear();
    this.#stop();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #renew(): Promise<void> {
    if (this.#renewing) {
      // A renewal that hangs must not keep an expired lease from being noticed.
      this.#giveUpExpired();
      return;
    }
    this.#renewing = true;
    const asked = performance.now();
    const held = this.all();
    try {
      const holds = held.map(({ stored: { job, lease } }) => ({
        queueName: job.queueName,
        id: job.id,
        lease,
        workerId: this.#workerId,
      }));
      const renewed = new Map(
        (await renew(this.#engine.executor, holds, this.#lockDuration)).map((r) => [`${r.id} ${r.lease}`, r]),
      );
      for (const one of held) {
        const answer = renewed.get(`${one.stored.job.id} ${one.stored.lease}`);
        if (answer) {
          one.confirmedAt = asked;
          if (answer.cancelled) this.#callbacks.cancelled(one);
        } else if (!one.attempt.ended) {
          this.#callbacks.lost(one);
        }
      }
    } catch (error) {
      // The next one may work; the lease outlives two that do not.
      this.#logger.warn(`conveyor: could not renew ${held.length} lease(s): ${(error as Error).message}`);
      this.#giveUpExpired();
    } finally {
      this.#renewing = false;
    }
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

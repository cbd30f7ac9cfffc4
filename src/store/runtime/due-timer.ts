import { MAX_TIMER_MS } from '../../model/options/duration.js';

/** One timer for the earliest of many due times, one per queue. */
export class DueTimer {
  readonly #onDue: () => void;
  /** `performance.now()` at which something of a queue comes due. */
  readonly #times = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Number.POSITIVE_INFINITY;

  constructor(onDue: () => void) {
    this.#onDue = onDue;
  }

  /** Something of this queue comes due in `ms`; an earlier time that is known for it stays. */
  add(queueName: string, ms: number): void {
    const at = performance.now() + Math.max(0, ms);
    this.#times.set(queueName, Math.min(at, this.#times.get(queueName) ?? Number.POSITIVE_INFINITY));
    this.#arm();
  }

  /** Forgets the time of a queue. */
  delete(queueName: string): void {
    this.#times.delete(queueName);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#armedFor = Number.POSITIVE_INFINITY;
    this.#times.clear();
  }

  #arm(): void {
    const earliest = Math.min(...this.#times.values());
    if (earliest === this.#armedFor) return;
    clearTimeout(this.#timer);
    this.#armedFor = earliest;
    // Timers fire up to a millisecond early; then nothing would be due yet.
    this.#timer = setTimeout(() => this.#fire(), Math.min(MAX_TIMER_MS, Math.max(0, earliest - performance.now() + 1)));
    this.#timer.unref();
  }

  #fire(): void {
    // Everything that is due, or comes due next, is found by what follows.
    this.clear();
    this.#onDue();
  }
}

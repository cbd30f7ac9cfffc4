import type { Executor } from '../../db/executor.js';
import type { Logger } from '../../model/logger.js';
import { type PollResult, pollQueues } from './poll-statement.js';

/** What a worker's process does when a look at its queue finds something. */
export interface PolledQueue {
  readonly queueName: string;
  /** How often to look at least, in ms: an expired lease must not wait much longer than this. */
  readonly interval: number;
  /** Waiting jobs are there. */
  wake(): void;
  /** Delayed jobs are due; resolves to how many were promoted. */
  promote(): Promise<number>;
  /** Leases have expired; resolves to how many jobs were returned or ended. */
  sweep(): Promise<number>;
  /** A schedule's tick has passed; resolves to how many jobs were made. */
  tick(): Promise<number>;
}

export interface PollerOptions {
  executor: () => Executor | undefined;
  logger: Logger;
  /** Whether notifications arrive: without them the watch must look often. */
  listening: () => boolean;
  /** Deletes finished jobs that have outlived their keep time. */
  deleteExpired: () => Promise<void>;
  /** Folds metrics and drops old ones; undefined when there are none to keep. */
  aggregateMetrics: (() => Promise<void>) | undefined;
}

/** How often a process that watches queues folds the metrics. */
const AGGREGATE_MS = 600_000;

/** With notifications a look is only a backstop, and the listener's heartbeat already takes one every 10 s. */
const IDLE_POLL_MS = 10_000;
const HEARTBEAT_LEAD = 1.25;
const UNNOTIFIED_POLL_MS = 1_000;
const CONTENDED_MS = 100;
/** A due time further off than this is found by a later look. */
export const MAX_EXPECT_MS = 15_000;

/**
 * One per store, however many workers: knows when the next thing comes due in any watched queue, sleeps until then,
 * and looks at the tables from time to time in case a notification was lost. Each look is one statement.
 */
export class Poller {
  readonly #options: PollerOptions;
  readonly #polled = new Map<string, Set<PolledQueue>>();
  readonly #due = new Map<string, number>();
  #pollTimer: NodeJS.Timeout | undefined;
  #dueTimer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #polling: Promise<void> | undefined;
  #pollAgain = false;
  #lastPoll = 0;
  #closed = false;
  #deleting = false;
  readonly #underWay = new Set<string>();
  #aggregatedAt = Number.NEGATIVE_INFINITY;

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  add(watcher: PolledQueue): () => void {
    const { queueName } = watcher;
    const set = this.#polled.get(queueName) ?? new Set();
    this.#polled.set(queueName, set.add(watcher));
    this.#closed = false;
    this.poll();
    return () => {
      set.delete(watcher);
      if (set.size > 0) return;
      this.#polled.delete(queueName);
      this.#due.delete(queueName);
      if (this.#polled.size === 0) this.#stopTimers();
    };
  }

  queues(): string[] {
    return [...this.#polled.keys()];
  }

  /** Something of this queue comes due in `ms`. */
  expect(queueName: string, ms: number): void {
    if (!this.#polled.has(queueName) || ms > MAX_EXPECT_MS) return;
    const at = performance.now() + Math.max(0, ms);
    this.#due.set(queueName, Math.min(at, this.#due.get(queueName) ?? Number.POSITIVE_INFINITY));
    this.#armDue();
  }

  /** Looks at all watched queues; looks asked for meanwhile become one more. */
  poll(): void {
    if (this.#polling) {
      this.#pollAgain = true;
      return;
    }
    this.#polling = this.#pollOnce().finally(() => {
      this.#polling = undefined;
      if (this.#pollAgain) {
        this.#pollAgain = false;
        this.poll();
      } else {
        this.#armPoll();
      }
    });
  }

  /** A look that somebody else took (the heartbeat, on its own connection). */
  handle(found: readonly PollResult[]): void {
    this.#lastPoll = performance.now();
    this.#act(found);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimers();
    await this.#polling?.catch(() => {});
  }

  async #pollOnce(): Promise<void> {
    const executor = this.#options.executor();
    if (this.#closed || !executor || this.#polled.size === 0) return;
    this.#lastPoll = performance.now();
    try {
      this.#act(await pollQueues(executor, this.queues()));
    } catch (error) {
      this.#options.logger.warn(`conveyor: could not look at the queues: ${(error as Error).message}`);
    }
  }

  #act(found: readonly PollResult[]): void {
    if (this.#closed) return;
    for (const { queueName, waiting, delayedIn, stalled, tickIn } of found) {
      const watchers = [...(this.#polled.get(queueName) ?? [])];
      const [first] = watchers;
      if (!first) continue;
      if (waiting) for (const watcher of watchers) watcher.wake();
      // One of them does it for the whole process.
      if (stalled) this.#run(queueName, 'sweep', first);
      this.#due.delete(queueName);
      const next = Math.min(delayedIn ?? Number.POSITIVE_INFINITY, tickIn ?? Number.POSITIVE_INFINITY);
      if (delayedIn !== null && delayedIn <= 0) this.#run(queueName, 'promote', first);
      if (tickIn !== null && tickIn <= 0) this.#run(queueName, 'tick', first);
      if (next > 0) this.expect(queueName, next);
    }
    if (found.some(({ removable }) => removable)) this.#deleteExpired();
    this.#aggregateMetrics();
  }

  #aggregateMetrics(): void {
    const { aggregateMetrics, logger } = this.#options;
    if (!aggregateMetrics || performance.now() - this.#aggregatedAt < AGGREGATE_MS) return;
    this.#aggregatedAt = performance.now();
    aggregateMetrics().catch((error) => logger.warn(`conveyor: could not fold metrics: ${(error as Error).message}`));
  }

  #deleteExpired(): void {
    if (this.#deleting) return;
    this.#deleting = true;
    void this.#options
      .deleteExpired()
      .catch((error) => this.#options.logger.warn(`conveyor: could not remove old jobs: ${(error as Error).message}`))
      .finally(() => {
        this.#deleting = false;
      });
  }

  /** After what came due there is one more look: it may have been one of many. */
  #run(queueName: string, kind: 'sweep' | 'promote' | 'tick', watcher: PolledQueue): void {
    const key = `${kind} ${queueName}`;
    // The next look finds what the one under way leaves.
    if (this.#underWay.has(key)) return;
    this.#underWay.add(key);
    const again = kind !== 'sweep';
    const work = watcher[kind]().finally(() => this.#underWay.delete(key));
    work.then(
      (count) => {
        if (!again) return;
        if (count > 0) this.poll();
        // Another process holds what is due: it will be gone in a moment.
        else this.expect(queueName, CONTENDED_MS);
      },
      (error) => this.#options.logger.error(`conveyor: queue "${queueName}": ${(error as Error).message}`, error),
    );
  }

  #armDue(): void {
    const at = Math.min(...this.#due.values(), Number.POSITIVE_INFINITY);
    if (this.#closed || at === this.#dueAt) return;
    clearTimeout(this.#dueTimer);
    this.#dueAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.#dueTimer = setTimeout(
      () => {
        this.#dueAt = Number.POSITIVE_INFINITY;
        this.#due.clear();
        this.poll();
      },
      // Timers fire up to a millisecond early: then the look would find nothing due yet.
      Math.max(0, at - performance.now() + 1),
    );
    this.#dueTimer.unref();
  }

  #armPoll(): void {
    clearTimeout(this.#pollTimer);
    if (this.#closed || this.#polled.size === 0) return;
    const wanted = Math.min(...[...this.#polled.values()].flatMap((set) => [...set].map((w) => w.interval)));
    // The heartbeat's look counts, and it comes first: an idle process asks once, not twice.
    const period = this.#options.listening()
      ? Math.min(wanted, IDLE_POLL_MS) * HEARTBEAT_LEAD
      : Math.min(wanted, UNNOTIFIED_POLL_MS);
    const left = this.#lastPoll + period - performance.now();
    this.#pollTimer = setTimeout(
      () => {
        if (performance.now() >= this.#lastPoll + period) this.poll();
        else this.#armPoll();
      },
      // Not unref'd: a process whose worker runs must not end by itself while the database is away.
      Math.max(1, left),
    );
  }

  #stopTimers(): void {
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#dueTimer);
    this.#dueAt = Number.POSITIVE_INFINITY;
    this.#due.clear();
  }
}

import type { Executor } from '../../db/executor.js';
import type { Logger } from '../../model/logger.js';
import { MAX_TIMER_MS } from '../../model/options/duration.js';
import { DueTimer } from './due-timer.js';
import { type PaceOptions, PollPace } from './poll-pace.js';
import { heartbeatPoll, type PollResult, pollQueues } from './poll-statement.js';

/** A queue that is polled for one worker, and what to do about what is due. */
export interface PolledQueue {
  readonly queueName: string;
  /** Longest time between two polls in ms: an expired lease must not wait much longer than this. */
  readonly interval: number;
  /** Jobs are waiting. */
  wake(): void;
  /** Delayed jobs are due. Resolves to the number that was promoted. */
  promote(): Promise<number>;
  /** Leases have expired. Resolves to the number of jobs that were returned or ended. */
  sweep(): Promise<number>;
  /** A schedule's tick is due. Resolves to the number of schedules that were advanced. */
  tick(): Promise<number>;
  /** Something of this could not be done, and is tried again. */
  failed?(error: unknown): void;
}

export interface PollerOptions extends PaceOptions {
  /** Undefined while the store is not connected. */
  executor: () => Executor | undefined;
  logger: Logger;
  /** Deletes finished jobs whose retention has expired. */
  deleteExpired: () => Promise<void>;
  /** Deletes what these queues have beyond their counts, rows of groups that are idle, and schedules that ended long ago. */
  upkeep?: (queues: readonly string[]) => Promise<void>;
  /** Aggregates metrics and deletes old ones; undefined when metrics are off. */
  aggregateMetrics: (() => Promise<void>) | undefined;
}

/**
 * Before another poll when another process holds what is due, or it cannot be done, in ms: doubling from the first of
 * them to the last.
 */
const CONTENDED_MS = 100;
const MAX_CONTENDED_MS = 5_000;
/** Between two aggregations of metrics in one process. */
const AGGREGATE_MS = 600_000;

/** What is done once for a queue, however many workers poll it. */
const KINDS = ['sweep', 'promote', 'tick'] as const;

/**
 * One per store, however many workers. Knows when something comes due next in any polled queue, waits until then, and
 * reads the tables regularly in case a notification was lost. Each poll is one statement for all queues.
 */
export class Poller {
  readonly #options: PollerOptions;
  readonly #pace: PollPace;
  readonly #polled = new Map<string, Set<PolledQueue>>();
  readonly #due = new DueTimer(() => this.poll());
  /** Work under way, as `kind queue`. */
  readonly #running = new Set<string>();
  /** Polls sent so far. */
  #sent = 0;
  /** By `kind queue`, how many polls were sent before it last ended: what they say about it may be out of date. */
  readonly #sentBeforeEnd = new Map<string, number>();
  /** By `kind queue`, how many runs have done nothing since one has. */
  readonly #idleRuns = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #polling: Promise<void> | undefined;
  #pollAgain = false;
  #lastPoll = 0;
  #lastAggregation = Number.NEGATIVE_INFINITY;
  #keepingUp = false;
  #deleting = false;
  #closed = false;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#pace = new PollPace(options);
  }

  /** Polls a queue, from now on. Returns a function that ends this. */
  add(queue: PolledQueue): () => void {
    const { queueName } = queue;
    const set = this.#polled.get(queueName) ?? new Set();
    this.#polled.set(queueName, set.add(queue));
    this.#closed = false;
    this.poll();
    return () => {
      set.delete(queue);
      if (set.size > 0 || this.#polled.get(queueName) !== set) return;
      this.#polled.delete(queueName);
      this.#due.delete(queueName);
      for (const kind of KINDS) {
        this.#sentBeforeEnd.delete(`${kind} ${queueName}`);
        this.#idleRuns.delete(`${kind} ${queueName}`);
      }
      if (this.#polled.size === 0) this.#stopTimers();
    };
  }

  queues(): string[] {
    return [...this.#polled.keys()];
  }

  /** Something of this queue comes due in `ms`. */
  expect(queueName: string, ms: number): void {
    if (!this.#closed && this.#polled.has(queueName)) this.#due.add(queueName, ms);
  }

  /** Something happens in a polled queue: jobs may become active, and their leases must be watched. */
  stirred(): void {
    if (!this.#pace.stir() || this.#polling) return;
    // Not at once: by then it has most likely been claimed, and perhaps ended.
    this.#lastPoll = performance.now();
    this.#scheduleNextPoll();
  }

  /** Polls all queues; requests during a poll become one more poll. */
  poll(): void {
    if (this.#polling) {
      this.#pollAgain = true;
      return;
    }
    this.#polling = this.#pollOnce().finally(() => {
      this.#polling = undefined;
      const again = this.#pollAgain;
      this.#pollAgain = false;
      if (again) this.poll();
      else this.#scheduleNextPoll();
    });
  }

  /** Tells a worker of the queue of an error; without one, any worker, because no other learns of it. */
  report(error: unknown, queueName?: string): void {
    const [any] = this.#polled.values();
    const [first] = (queueName === undefined ? undefined : this.#polled.get(queueName)) ?? any ?? [];
    first?.failed?.(error);
  }

  /** Polls on the connection that is to be proved alive, also without a queue. Rejects when the poll fails. */
  async heartbeat(executor: Executor): Promise<void> {
    const poll = ++this.#sent;
    this.#pace.sent();
    const results = await heartbeatPoll(executor, this.queues());
    this.#lastPoll = performance.now();
    this.#act(results, poll);
    // Without jobs the next poll was never.
    if (!this.#polling) this.#scheduleNextPoll();
  }

  /** Resolves when no poll is under way. `add` starts again. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimers();
    await this.#polling;
  }

  /** Never rejects. */
  async #pollOnce(): Promise<void> {
    // Also when there is nothing to poll on, or the next attempt would follow at once.
    this.#lastPoll = performance.now();
    const executor = this.#options.executor();
    if (this.#closed || !executor || this.#polled.size === 0) return;
    const poll = ++this.#sent;
    this.#pace.sent();
    try {
      this.#act(await pollQueues(executor, this.queues()), poll);
    } catch (error) {
      this.#pace.failed();
      this.report(error);
      this.#options.logger.warn(`conveyor: could not poll the queues: ${(error as Error).message}`);
    }
  }

  #act(results: readonly PollResult[], poll: number): void {
    if (this.#closed) return;
    this.#pace.answered(results);
    for (const result of results) this.#actOn(result, poll);
    if (results.some(({ expired }) => expired)) this.#deleteExpired();
    this.#upkeep();
    this.#aggregateMetrics();
  }

  #actOn({ queueName, waiting, delayedIn, stalled, tickIn }: PollResult, poll: number): void {
    const workers = [...(this.#polled.get(queueName) ?? [])];
    // What concerns the queue as a whole is done by one worker for the process.
    const [first] = workers;
    if (!first) return;
    if (waiting) for (const worker of workers) worker.wake();
    if (stalled) this.#run('sweep', first, poll);
    if (delayedIn !== null && delayedIn <= 0) this.#run('promote', first, poll);
    if (tickIn !== null && tickIn <= 0) this.#run('tick', first, poll);
    this.#due.delete(queueName);
    const next = Math.min(delayedIn ?? Number.POSITIVE_INFINITY, tickIn ?? Number.POSITIVE_INFINITY);
    // What is due by now is followed by another poll.
    if (next > 0) this.expect(queueName, next);
  }

  #run(kind: (typeof KINDS)[number], queue: PolledQueue, poll: number): void {
    const { queueName } = queue;
    const key = `${kind} ${queueName}`;
    // A poll after its end finds what the run leaves.
    if (this.#running.has(key)) return;
    if (poll <= (this.#sentBeforeEnd.get(key) ?? 0)) {
      this.poll();
      return;
    }
    this.#running.add(key);
    const run = queue[kind]().finally(() => {
      this.#running.delete(key);
      if (this.#polled.has(queueName)) this.#sentBeforeEnd.set(key, this.#sent);
    });
    run.then(
      (count) => {
        if (count > 0) this.#idleRuns.delete(key);
        // A sweep takes everything that has expired; of delayed jobs and ticks more may be due.
        if (kind === 'sweep') return;
        if (count > 0) this.poll();
        else this.#expectAgain(key, queueName);
      },
      (error) => {
        this.#options.logger.error(`conveyor: queue "${queueName}": ${(error as Error).message}`, error);
        queue.failed?.(error);
        this.#expectAgain(key, queueName);
      },
    );
  }

  /** What is due stays due: held by another process, or refused. */
  #expectAgain(key: string, queueName: string): void {
    if (!this.#polled.has(queueName)) return;
    const runs = this.#idleRuns.get(key) ?? 0;
    this.#idleRuns.set(key, runs + 1);
    this.expect(queueName, Math.min(MAX_CONTENDED_MS, CONTENDED_MS * 2 ** runs));
  }

  #deleteExpired(): void {
    if (this.#deleting) return;
    this.#deleting = true;
    void this.#options
      .deleteExpired()
      .catch((error) => {
        this.#options.logger.warn(`conveyor: could not delete expired jobs: ${(error as Error).message}`);
        this.report(error);
      })
      .finally(() => {
        this.#deleting = false;
      });
  }

  #upkeep(): void {
    const { upkeep, logger } = this.#options;
    if (!upkeep || this.#keepingUp || !this.#pace.takeUpkeep()) return;
    this.#keepingUp = true;
    void upkeep(this.queues())
      .catch((error) => logger.warn(`conveyor: could not remove what is no longer needed: ${(error as Error).message}`))
      .finally(() => {
        this.#keepingUp = false;
      });
  }

  #aggregateMetrics(): void {
    const { aggregateMetrics, logger } = this.#options;
    if (!aggregateMetrics || performance.now() - this.#lastAggregation < AGGREGATE_MS) return;
    this.#lastAggregation = performance.now();
    aggregateMetrics().catch((error) =>
      logger.warn(`conveyor: could not aggregate metrics: ${(error as Error).message}`),
    );
  }

  #scheduleNextPoll(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#polled.size === 0) return;
    const period = this.#period();
    const nextPoll = () => this.#lastPoll + period - performance.now();
    this.#timer = setTimeout(
      // The heartbeat may have polled meanwhile.
      () => (nextPoll() <= 0 ? this.poll() : this.#scheduleNextPoll()),
      // Not unref'd: a process with a running worker must not end while the database is away.
      Math.min(MAX_TIMER_MS, Math.max(1, nextPoll())),
    );
  }

  #period(): number {
    return this.#pace.period(
      Math.min(...[...this.#polled.values()].flatMap((set) => [...set].map((queue) => queue.interval))),
    );
  }

  #stopTimers(): void {
    clearTimeout(this.#timer);
    this.#due.clear();
  }
}

import { HEARTBEAT_MS } from '../../db/listener.js';
import { MAX_TIMER_MS } from '../../model/options/duration.js';
import type { PollResult } from './poll-statement.js';

export interface PaceOptions {
  /** Whether notifications arrive; without them polls are frequent. */
  listening: () => boolean;
  /** Whether notifications are wanted: then polls are frequent while they do not arrive, whatever `pollInterval` says. */
  listens?: boolean;
  /** Longest time between two polls in ms. Infinity: none while nothing happens. Default: see below. */
  pollInterval?: number | undefined;
  /** ms between heartbeats. */
  heartbeatInterval?: number;
}

/** Between two polls while notifications arrive: they only find what a lost notification would have said. */
const LISTENING_POLL_MS = HEARTBEAT_MS;
/** The heartbeat polls as well. Polls of our own wait this much longer, so that an idle process sends one statement. */
const HEARTBEAT_MARGIN = 1.25;
/** Between two polls without notifications. */
const POLLING_ONLY_MS = 1_000;
/** Between two polls while they fail, in ms: doubling from the first of them to the last. */
const FAILED_POLL_MS = 1_000;
const MAX_FAILED_POLL_MS = 5_000;
/** Between two runs of upkeep in one process, while jobs run and while none do. */
const UPKEEP_MS = 30_000;
const IDLE_UPKEEP_MS = 600_000;

/** How long to wait between two polls, by the options and by what happens in the queues. */
export class PollPace {
  readonly #options: PaceOptions;
  /** Something has happened in a queue since the last poll was sent. */
  #stirred = false;
  /** By the last poll, jobs are active, or have begun to wait. */
  #restless = false;
  /** Queues in which jobs waited at the last poll, and none was active: a paused one stays like this. */
  #stuck = new Set<string>();
  /** Polls that have failed since one has not. */
  #failures = 0;
  /** Jobs have run, or were to, since the last upkeep. */
  #busy = false;
  #lastUpkeep = Number.NEGATIVE_INFINITY;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Something happens in a queue. @returns true when no poll was to follow, and now one is */
  stir(): boolean {
    if (this.#stirred) return false;
    const slept = this.period(Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY;
    this.#stirred = true;
    return slept;
  }

  /** A poll is sent: what happens from now on may be missing in its answer. */
  sent(): void {
    this.#busy ||= this.#stirred;
    this.#stirred = false;
  }

  /** A queue is at rest when none of its jobs is active, and those that wait have done so for more than a poll. */
  answered(results: readonly PollResult[]): void {
    this.#failures = 0;
    const stuck = results.filter(({ waiting, active }) => waiting && !active).map(({ queueName }) => queueName);
    this.#restless = results.some(({ active }) => active) || stuck.some((queueName) => !this.#stuck.has(queueName));
    this.#stuck = new Set(stuck);
    this.#busy ||= this.#restless;
  }

  failed(): void {
    this.#failures++;
    this.#stirred = true;
  }

  /** @param interval the shortest that a worker asks for, in ms. @returns ms; Infinity: no poll until something happens */
  period(interval: number): number {
    const { listening, listens = true, pollInterval, heartbeatInterval = HEARTBEAT_MS } = this.#options;
    if (this.#failures > 0) return Math.min(MAX_FAILED_POLL_MS, FAILED_POLL_MS * 2 ** (this.#failures - 1));
    const heard = listening();
    if (!heard && (listens || pollInterval === undefined)) return Math.min(interval, POLLING_ONLY_MS);
    const atRest = !this.#stirred && !this.#restless;
    if (pollInterval === Number.POSITIVE_INFINITY && atRest) return pollInterval;
    const wanted = pollInterval === undefined || pollInterval > MAX_TIMER_MS ? LISTENING_POLL_MS : pollInterval;
    const period = Math.min(interval, wanted);
    return heard && heartbeatInterval <= wanted ? period * HEARTBEAT_MARGIN : period;
  }

  /** Whether it is time for upkeep, which then begins. */
  takeUpkeep(): boolean {
    const period = this.#busy ? UPKEEP_MS : IDLE_UPKEEP_MS;
    if (performance.now() - this.#lastUpkeep < period) return false;
    this.#lastUpkeep = performance.now();
    this.#busy = false;
    return true;
  }
}

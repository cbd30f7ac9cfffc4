import { settledWithin } from '../../db/deadline.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { Capacity } from './capacity.js';
import type { Claimer } from './claimer.js';
import type { Condition } from './condition.js';
import type { Dispatcher } from './dispatcher.js';
import type { Fetcher } from './fetcher.js';
import type { Settler } from './settler.js';

/** Part of the time limit that is left for releasing leases, after the signals have aborted. */
const RELEASE_SHARE = 0.2;
const MAX_RELEASE_MS = 3_000;
/** With a lower limit it may still take this long to release leases. */
const MIN_CLOSE_MS = 2_000;
/** Timers fire late rather than early. */
const TIMER_MARGIN_MS = 50;

export interface Draining {
  readonly engine: Engine;
  readonly fetcher: Fetcher;
  readonly capacity: Capacity;
  readonly settler: Settler;
  readonly dispatcher: Dispatcher<unknown>;
  readonly claimer: Claimer;
  /** Changes with every end of a job. */
  readonly condition: Condition;
}

/** Returns what has not started, waits for what runs, then aborts it. Within `timeout` ms. Never rejects. */
export async function drain(worker: Draining, timeout: number): Promise<void> {
  const { engine, fetcher, capacity, settler, dispatcher, claimer, condition } = worker;
  const release = Math.min(MAX_RELEASE_MS, timeout * RELEASE_SHARE);
  const end = performance.now() + Math.max(timeout - TIMER_MARGIN_MS, MIN_CLOSE_MS);
  const left = () => Math.max(0, end - performance.now());
  void fetcher.stop().then(() => condition.changed());
  const settled = () => settler.pending === 0 && !fetcher.claiming;
  if (!(await condition.until(() => capacity.idle && settled(), timeout - release))) {
    dispatcher.abandonAll();
    await condition.until(settled, left());
  }
  if (claimer.unanswered && engine.connected) await settledWithin(claimer.releaseUnknown(), left());
}

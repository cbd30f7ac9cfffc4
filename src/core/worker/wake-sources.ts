import type { Engine } from '../../store/runtime/engine.js';
import { tickSchedules } from '../../store/schedules/list.js';
import { promoteDue, sweepQueue } from './maintenance.js';

/** News of a job that may mean that it is not its worker's any more, or should not be. */
const TAKEN_AWAY: ReadonlySet<string> = new Set(['job:cancelled', 'job:removed', 'job:stalled', 'job:failed']);

export interface AttachOptions {
  readonly queueName: string;
  /** How often to look at the queue at least, in ms. */
  readonly interval: number;
  readonly maxStalledCount: number;
  /** There may be jobs to take. */
  wake(): void;
  /** A job may not be this worker's any more. */
  takenAway(jobId: string): void;
  stalled(jobId: string): void;
}

export interface Attached {
  /** No more jobs are wanted; what happens to those at hand is still told. */
  detach(): void;
  unfollow(): void;
}

/** What wakes a worker, and what its process does for the queue while a worker runs. */
export function attachWakeSources(engine: Engine, options: AttachOptions): Attached {
  const { notifier, poller } = engine;
  const { queueName, interval, maxStalledCount, wake, takenAway, stalled } = options;
  const unfollow = notifier.on(
    queueName,
    ({ jobId }) => {
      if (jobId !== undefined) takenAway(jobId);
    },
    TAKEN_AWAY,
  );
  const offBell = notifier.onWake(queueName, (dueIn) => {
    if (dueIn === null) wake();
    else poller.expect(queueName, dueIn);
  });
  const unwatch = poller.add({
    queueName,
    interval,
    wake,
    promote: () => promoteDue(engine, queueName),
    sweep: () => sweepQueue(engine, queueName, maxStalledCount, stalled),
    tick: () => tickSchedules(engine, queueName),
  });
  return {
    unfollow,
    detach: () => {
      offBell();
      unwatch();
    },
  };
}

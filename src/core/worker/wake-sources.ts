import type { Engine } from '../../store/runtime/engine.js';
import { tickSchedules } from '../../store/schedules/list.js';
import { promoteDue, type SweepListeners, sweepQueue } from './maintenance.js';

/** Events after which a job may not be under its worker's lease any more, or should stop. */
const LEASE_EVENTS: ReadonlySet<string> = new Set([
  'job:cancelled',
  'job:removed',
  'job:stalled',
  'job:failed',
  'job:delayed',
]);

export interface WakeOptions {
  readonly queueName: string;
  /** Longest time between two polls of the queue, in ms. */
  readonly interval: number;
  readonly maxStalledCount: number;
  /** There may be jobs to claim. */
  wake(): void;
  /** The lease on a job may be lost. */
  checkLease(jobId: string): void;
  readonly swept: SweepListeners;
  failed(error: unknown): void;
}

export interface WakeSources {
  /** No more wake-ups; events about leased jobs still arrive. */
  detach(): void;
  /** No more events. */
  unsubscribe(): void;
}

/** Subscribes a worker to what wakes it, and has its process look after the queue while the worker runs. */
export function attachWakeSources(engine: Engine, options: WakeOptions): WakeSources {
  const { notifier, poller } = engine;
  const { queueName, interval, maxStalledCount, wake, checkLease, swept, failed } = options;
  const unsubscribe = notifier.on(
    queueName,
    ({ jobId }) => {
      if (jobId !== undefined) checkLease(jobId);
    },
    LEASE_EVENTS,
  );
  const offWake = notifier.onWake(queueName, (dueIn) => {
    poller.stirred();
    if (dueIn === null) wake();
    else poller.expect(queueName, dueIn);
  });
  const offPoll = poller.add({
    queueName,
    interval,
    wake,
    promote: () => promoteDue(engine, queueName),
    sweep: () => sweepQueue(engine, queueName, maxStalledCount, swept),
    tick: () => tickSchedules(engine, queueName),
    failed,
  });
  return {
    unsubscribe,
    detach: () => {
      offWake();
      offPoll();
    },
  };
}

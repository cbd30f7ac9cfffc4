import { JobFailedError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import type { Notifier } from '../../store/events/notifier.js';
import type { StoredJob } from '../../store/rows/job-row.js';
import { CANCELLED_REASON } from '../../store/rules/reasons.js';
import { cancelledError } from '../job/cancel.js';
import type { SettledAttempt } from './leased-job.js';

/** The worker's own listeners. */
export interface SettledListeners {
  /** @param changed what is different from the job as it was claimed */
  completed(stored: StoredJob, changed: Partial<JobData>): void;
  failed(stored: StoredJob, changed: Partial<JobData>, error: Error): void;
}

/** Results up to this size, in characters of JSON, travel with the event; larger ones are read from the table. */
const MAX_EVENT_RESULT = 4_096;

const reasonOf = ({ settled, settlement }: SettledAttempt) =>
  settled.cancelled ? CANCELLED_REASON : (settlement.reason ?? '');

/** Publishes how the attempt ended, to every process, and wakes workers where the job can run again. */
export function publishSettled(notifier: Notifier, { job }: StoredJob, attempt: SettledAttempt): void {
  const { id, queueName, attemptsMade } = job;
  const { end, settlement, settled } = attempt;
  const { state, cancelled, removed } = settled;
  const failedReason = reasonOf(attempt);
  if (state === 'completed') {
    const text = settlement.returnvalue ?? 'null';
    // The result of a removed job cannot be read later.
    const fits = text.length <= MAX_EVENT_RESULT || removed;
    notifier.publishJson('job:completed', queueName, id, fits ? `{"returnvalue":${text}}` : '{"partial":true}');
    return;
  }
  if (state === 'failed') {
    notifier.publish('job:failed', queueName, id, { failedReason, ...(cancelled && { cancelled }) });
    return;
  }
  const retry = end.kind === 'failed' ? { failedReason, attemptsMade: attemptsMade + 1 } : undefined;
  notifier.publish(state === 'delayed' ? 'job:delayed' : 'job:waiting', queueName, id, retry);
  if (state === 'waiting') notifier.wake(queueName);
  else notifier.wake(queueName, settlement.until === undefined ? settlement.delayMs : settlement.until - Date.now());
}

/** Calls the worker's listeners for an attempt that completed or failed. */
export function emitSettled(listeners: SettledListeners, stored: StoredJob, attempt: SettledAttempt): void {
  const { end, settlement, settled } = attempt;
  const { state } = settled;
  const { id, attemptsMade, failedAt } = stored.job;
  if (state === 'completed' && end.kind === 'completed') {
    const { returnvalue } = end;
    listeners.completed(stored, { state, failedReason: null, returnvalue, completedAt: new Date() });
    return;
  }
  const changed: Partial<JobData> = {
    state,
    failedReason: state === 'completed' ? null : reasonOf(attempt) || null,
    failedAt: state === 'failed' ? new Date() : failedAt,
  };
  if (end.kind === 'failed') {
    const error = end.error instanceof Error ? end.error : new JobFailedError(id, settlement.reason ?? 'failed');
    listeners.failed(stored, { ...changed, attemptsMade: attemptsMade + 1 }, error);
  } else if (state === 'failed') {
    const made = attemptsMade + (end.kind === 'completed' ? 1 : 0);
    listeners.failed(stored, { ...changed, attemptsMade: made }, cancelledError());
  }
}

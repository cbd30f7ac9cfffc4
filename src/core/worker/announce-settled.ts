import { JobFailedError } from '../../model/errors.js';
import type { AttemptRecord, JobData } from '../../model/job.js';
import type { Notifier } from '../../store/events/notifier.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import { MAX_ATTEMPT_RECORDS } from '../../store/rules/attempt-record.js';
import { CANCELLED_REASON } from '../../store/rules/reasons.js';
import { cancelledError } from '../job/cancel.js';
import type { JobSource } from '../job/job-fields.js';
import type { SettledAttempt } from './leased-job.js';

/** The worker's own listeners. */
export interface SettledListeners {
  completed(stored: StoredJob, attempt: SettledAttempt, result: unknown): void;
  /** The job has failed for good. */
  failed(stored: StoredJob, attempt: SettledAttempt, error: Error): void;
  /** The attempt failed, and another follows. */
  retrying(stored: StoredJob, attempt: SettledAttempt, error: Error): void;
}

/** Results up to this size, in characters of JSON, travel with the event; larger ones are read from the table. */
const MAX_EVENT_RESULT = 4_096;

const reasonOf = ({ settled, settlement }: SettledAttempt) =>
  settled.cancelled ? CANCELLED_REASON : (settlement.reason ?? '');

/** Publishes how the attempt ended, to every process, and wakes workers where the job can run again. */
export function publishSettled(notifier: Notifier, stored: StoredJob, attempt: SettledAttempt): void {
  const { id, queueName, attemptsMade } = stored;
  const { end, settlement, settled } = attempt;
  const { state, cancelled, removed } = settled;
  if (state === 'completed') {
    const text = settlement.returnvalue ?? 'null';
    // The result of a removed job cannot be read later.
    const fits = text.length <= MAX_EVENT_RESULT || removed;
    notifier.publishCompleted(queueName, id, fits ? text : undefined);
    return;
  }
  if (state === 'failed') {
    notifier.publish('job:failed', queueName, id, { data: reasonOf(attempt), ...(cancelled && { cancelled }) });
    return;
  }
  const retry = end.kind === 'failed' ? { attemptsMade: attemptsMade + 1, failedReason: reasonOf(attempt) } : undefined;
  notifier.publish(state === 'delayed' ? 'job:delayed' : 'job:waiting', queueName, id, retry);
  if (state === 'waiting') notifier.wake(queueName);
  else notifier.wake(queueName, settlement.until === undefined ? settlement.delayMs : settlement.until - Date.now());
}

/** Calls the worker's listeners for an attempt that completed or failed. */
export function emitSettled(listeners: SettledListeners, stored: StoredJob, attempt: SettledAttempt): void {
  const { end, settlement, settled } = attempt;
  if (settled.state === 'completed') {
    if (end.kind === 'completed') listeners.completed(stored, attempt, end.returnvalue);
  } else if (settled.cancelled) {
    // Whatever the handler threw when its signal aborted.
    listeners.failed(stored, attempt, cancelledError());
  } else if (end.kind === 'failed') {
    const error = end.error instanceof Error ? end.error : new JobFailedError(stored.id, settlement.reason ?? 'failed');
    if (settled.state === 'failed') listeners.failed(stored, attempt, error);
    else listeners.retrying(stored, attempt, error);
  }
}

/** A job that was just settled. What listeners do not look at is not made. */
export class SettledJob implements JobSource<unknown> {
  readonly #stored: StoredJob;
  readonly #attempt: SettledAttempt;
  readonly #at = Date.now();
  #job: JobData | undefined;

  constructor(stored: StoredJob, attempt: SettledAttempt) {
    this.#stored = stored;
    this.#attempt = attempt;
  }

  get id(): string {
    return this.#stored.id;
  }
  get name(): string {
    return this.#stored.name;
  }
  get queueName(): string {
    return this.#stored.queueName;
  }
  get data(): unknown {
    return this.#job ? this.#job.data : this.#stored.data;
  }
  get attemptsMade(): number {
    return this.job.attemptsMade;
  }
  get job(): JobData {
    this.#job ??= jobAfter(this.#stored, this.#attempt, new Date(this.#at));
    return this.#job;
  }
}

/**
 * The job after a settlement, not under a lease any more, as its row says without being read: but for the record of an
 * attempt that completed, which would cost every job more than most listeners read of it.
 */
function jobAfter({ job }: StoredJob, attempt: SettledAttempt, at: Date): JobData {
  const { end, settlement, settled } = attempt;
  const { state } = settled;
  const after: JobData = { ...job, state, lockedBy: null, lockUntil: null };
  if (state === 'completed') {
    after.completedAt = at;
    after.failedReason = null;
    after.returnvalue = JSON.parse(settlement.returnvalue ?? 'null');
    return after;
  }
  after.failedReason = reasonOf(attempt) || null;
  if (state === 'failed') after.failedAt = at;
  if (state === 'delayed') after.delayUntil = new Date(at.getTime() + (settlement.delayMs ?? 0));
  if (end.kind !== 'completed' && end.kind !== 'failed') return after;
  const record = failureRecord(job, attempt, at);
  after.attemptsMade = record.attempt;
  after.attemptLogs = appended(job.attemptLogs, record);
  after.stacktrace = appended(job.stacktrace, record.stacktrace ?? record.error ?? '');
  return after;
}

function failureRecord(job: JobData, attempt: SettledAttempt, endedAt: Date): AttemptRecord {
  const { startedAt = '', stack = null, logs = '[]' } = attempt.settlement;
  return {
    attempt: job.attemptsMade + 1,
    startedAt,
    endedAt: endedAt.toISOString(),
    status: 'failed',
    error: reasonOf(attempt),
    stacktrace: stack,
    logs: JSON.parse(logs) as string[],
  };
}

/** As the statement appends: at most so many, the oldest is dropped. */
const appended = <T>(list: readonly T[], item: T): T[] => [...list.slice(1 - MAX_ATTEMPT_RECORDS), item];

import { ClosedError, JobFailedError, JobNotFoundError, WaitTimeoutError } from '../../model/errors.js';
import type { Duration, JobOptions } from '../../model/job.js';
import { MAX_TIMER_MS, parseDelay } from '../../model/options/duration.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { CANCELLED_REASON } from '../../store/rules/reasons.js';
import type { JobEnd } from './job-end.js';
import { JobObservable } from './job-observable.js';

interface Awaited {
  readonly id: string;
  readonly queueName: string;
  readonly opts: JobOptions;
}

/** @param ttl longest wait. Default: none. */
export async function waitUntilFinished(job: Awaited, store: PgStore, ttl?: Duration): Promise<unknown> {
  const limit = ttl === undefined ? undefined : parseDelay(ttl, 'waitUntilFinished ttl');
  store.engine.assertConnected();
  const observable = new JobObservable(job.id, job.queueName, store);
  let timer: NodeJS.Timeout | undefined;
  try {
    const end = await new Promise<JobEnd>((resolve, reject) => {
      observable.onEnd(resolve);
      if (limit === undefined || limit > MAX_TIMER_MS) return;
      timer = setTimeout(() => reject(new WaitTimeoutError(job.id, limit)), limit);
    });
    if (end.kind === 'completed') return end.returnvalue;
    if (end.kind === 'failed') throw new JobFailedError(job.id, end.reason);
    if (end.kind === 'cancelled') throw new JobFailedError(job.id, CANCELLED_REASON);
    if (end.kind === 'closed') throw new ClosedError('The store');
    if (isRemovedOnCompletionOnly(job.opts)) return undefined;
    throw new JobNotFoundError(job.id, job.queueName);
  } finally {
    clearTimeout(timer);
    observable.dispose();
  }
}

/** Then a job that no longer exists has completed. */
function isRemovedOnCompletionOnly({ removeOnComplete, removeOnFail }: JobOptions): boolean {
  const removes = (option: JobOptions['removeOnComplete']) =>
    option !== undefined && option !== null && option !== false;
  return removes(removeOnComplete) && !removes(removeOnFail);
}

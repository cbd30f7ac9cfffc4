import { ClosedError, JobFailedError, JobNotFoundError, WaitTimeoutError } from '../../model/errors.js';
import type { Duration } from '../../model/job.js';
import { parseDelay } from '../../model/options/duration.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { Job } from './job.js';
import type { Ending } from './job-observable.js';

/** A Node.js timer with more than that goes off at once. */
const MAX_TIMER_MS = 2_147_483_647;

export async function waitUntilFinished(job: Job<unknown>, engine: Engine, ttl?: Duration): Promise<unknown> {
  const limit = ttl === undefined ? undefined : parseDelay(ttl, 'waitUntilFinished ttl');
  if (!engine.connected) throw new ClosedError('The store');
  const observable = job.observe();
  let timer: NodeJS.Timeout | undefined;
  try {
    const ending = await new Promise<Ending>((resolve, reject) => {
      observable.onEnd(resolve);
      if (limit === undefined || limit > MAX_TIMER_MS) return;
      timer = setTimeout(() => reject(new WaitTimeoutError(job.id, limit)), limit);
    });
    if (ending.kind === 'completed') return ending.result;
    if (ending.kind === 'failed') throw new JobFailedError(job.id, ending.reason);
    if (ending.kind === 'cancelled') throw new JobFailedError(job.id, 'Job was cancelled');
    if (ending.kind === 'closed') throw new ClosedError('The store');
    if (isRemovedOnCompletionOnly(job)) return undefined;
    throw new JobNotFoundError(job.id, job.queueName);
  } finally {
    clearTimeout(timer);
    observable.dispose();
  }
}

/** Then a job that is gone has completed. */
function isRemovedOnCompletionOnly({ opts: { removeOnComplete, removeOnFail } }: Job<unknown>): boolean {
  const removes = (option: boolean | number | undefined) => option === true || typeof option === 'number';
  return removes(removeOnComplete) && !removes(removeOnFail);
}

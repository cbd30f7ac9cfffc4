import { JobFailedError } from '../../model/errors.js';
import { PROMOTE_CHUNK, promoteChunk } from '../../store/change/promote.js';
import { announceParents } from '../../store/events/announce.js';
import { sweep } from '../../store/lease/sweep.js';
import { getJobs } from '../../store/read/find.js';
import { deleteExpired } from '../../store/remove/delete-expired.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import type { Engine } from '../../store/runtime/engine.js';
import { cancelledError } from '../job/cancel.js';

/** Makes the queue's due delayed jobs waiting, and announces it; resolves to how many. */
export async function promoteDue(engine: Engine, queueName: string): Promise<number> {
  let count = 0;
  for (;;) {
    const ids = await promoteChunk(engine.executor, queueName, engine.setAside);
    count += ids.length;
    if (ids.length > 0) {
      for (const id of ids) engine.notifier.publish('job:waiting', queueName, id);
      engine.notifier.wake(queueName);
    }
    if (ids.length < PROMOTE_CHUNK) return count;
  }
}

export interface SweepListeners {
  /** A lease has expired. */
  stalled?(id: string): void;
  /** A job has failed for good by it. */
  failed?(stored: StoredJob, error: Error): void;
}

/** Returns stalled jobs to waiting, or ends them, and announces it; resolves to how many. */
export async function sweepQueue(
  engine: Engine,
  queueName: string,
  maxStalledCount: number,
  listeners: SweepListeners = {},
): Promise<number> {
  const shard = engine.options.metrics.enabled ? engine.shard : null;
  const { jobs, parents } = await sweep(engine.executor, queueName, maxStalledCount, shard, engine.setAside);
  announceParents(engine.notifier, parents);
  for (const { id, state, cancelled, reason } of jobs) {
    const failed = { data: reason ?? '', ...(cancelled && { cancelled }) };
    engine.notifier.publish('job:stalled', queueName, id);
    if (state === 'failed') engine.notifier.publish('job:failed', queueName, id, failed);
    else engine.notifier.publish('job:waiting', queueName, id);
    listeners.stalled?.(id);
  }
  if (jobs.some(({ state }) => state === 'waiting')) engine.notifier.wake(queueName);
  const failed = jobs.filter(({ state }) => state === 'failed').map(({ id }) => id);
  if (failed.length > 0) await afterFailures(engine, queueName, failed, listeners);
  return jobs.length;
}

/** Listeners get each job as it is in the table; those that are to be removed at once are removed afterwards. */
async function afterFailures(
  engine: Engine,
  queueName: string,
  ids: readonly string[],
  { failed }: SweepListeners,
): Promise<void> {
  const jobs = await getJobs(engine.executor, queueName, ids);
  for (const stored of jobs.values()) {
    const { id, failedReason, cancelledAt } = stored.job;
    failed?.(stored, cancelledAt ? cancelledError() : new JobFailedError(id, failedReason ?? 'failed'));
  }
  await deleteExpired(engine.executor, engine.setAside);
}

import { PROMOTE_CHUNK, promoteChunk } from '../../store/change/promote.js';
import { announceParents } from '../../store/events/announce.js';
import { sweep } from '../../store/lease/sweep.js';
import type { Engine } from '../../store/runtime/engine.js';

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

/** Returns stalled jobs to waiting, or ends them, and announces it; resolves to how many. */
export async function sweepQueue(
  engine: Engine,
  queueName: string,
  maxStalledCount: number,
  stalled: (id: string) => void,
): Promise<number> {
  const shard = engine.options.metrics.enabled ? engine.shard : null;
  const { jobs, parents } = await sweep(engine.executor, queueName, maxStalledCount, shard, engine.setAside);
  announceParents(engine.notifier, parents);
  for (const { id, state, cancelled, reason } of jobs) {
    const failed = { data: reason ?? '', ...(cancelled && { cancelled }) };
    engine.notifier.publish('job:stalled', queueName, id);
    if (state === 'failed') engine.notifier.publish('job:failed', queueName, id, failed);
    else engine.notifier.publish('job:waiting', queueName, id);
    stalled(id);
  }
  if (jobs.some(({ state }) => state === 'waiting')) engine.notifier.wake(queueName);
  return jobs.length;
}

import type { Engine } from '../store/engine.js';
import { cancelJob } from '../store/job-verbs.js';
import { CANCELLED_REASON } from '../store/settle.js';
import { announceParents, jobEvent } from './announce.js';

/**
 * Cancels a job wherever it is. One that waits fails at once; an active one is told by its signal, and ends failed
 * whatever its handler returns. True when either happened; false when the job had ended, or does not exist.
 */
export async function cancelAnywhere(engine: Engine, queueName: string, id: string): Promise<boolean> {
  const { outcome, parents } = await cancelJob(engine.executor, queueName, id);
  if (outcome === 'ended') {
    engine.hub.publish([
      jobEvent('job:cancelled', queueName, id),
      jobEvent('job:failed', queueName, id, { failedReason: CANCELLED_REASON, cancelled: true }),
    ]);
  } else if (outcome === 'signalled') {
    engine.hub.publish([jobEvent('job:cancelled', queueName, id)]);
  }
  announceParents(engine, parents);
  return outcome === 'ended' || outcome === 'signalled';
}

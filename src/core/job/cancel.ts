import { cancelJob } from '../../store/change/job-verbs.js';
import { announceParents } from '../../store/events/announce.js';
import { CANCELLED_REASON } from '../../store/rules/reasons.js';
import type { Engine } from '../../store/runtime/engine.js';

/**
 * Cancels a job wherever it is. One that waits fails at once; an active one is told by its signal, and ends failed
 * whatever its handler returns. True when either happened; false when the job had ended, or does not exist.
 */
export async function cancelAnywhere(engine: Engine, queueName: string, id: string): Promise<boolean> {
  const { outcome, parents } = await cancelJob(engine.executor, queueName, id);
  if (outcome === 'ended') {
    engine.notifier.publish('job:cancelled', queueName, id);
    engine.notifier.publish('job:failed', queueName, id, { failedReason: CANCELLED_REASON, cancelled: true });
  } else if (outcome === 'signalled') {
    engine.notifier.publish('job:cancelled', queueName, id);
  }
  announceParents(engine.notifier, parents);
  return outcome === 'ended' || outcome === 'signalled';
}

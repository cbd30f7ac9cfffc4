import { ConveyorError } from '../../model/errors.js';
import { cancelJob } from '../../store/change/end.js';
import { announceParents } from '../../store/events/announce.js';
import { CANCELLED_REASON } from '../../store/rules/reasons.js';
import type { Engine } from '../../store/runtime/engine.js';

/**
 * Cancels a job in any state. One that has not started fails at once; the signal of an active one aborts, and it ends
 * failed whatever its handler returns.
 *
 * @returns true when either happened; false when the job had ended, or does not exist
 */
export async function cancelAnyJob(engine: Engine, queueName: string, id: string): Promise<boolean> {
  const { outcome, parents } = await cancelJob(engine.executor, queueName, id);
  if (outcome === 'ended') {
    engine.notifier.publish('job:cancelled', queueName, id);
    engine.notifier.publish('job:failed', queueName, id, { data: CANCELLED_REASON, cancelled: true });
  } else if (outcome === 'signalled') {
    engine.notifier.publish('job:cancelled', queueName, id);
  }
  announceParents(engine.notifier, parents);
  return outcome === 'ended' || outcome === 'signalled';
}

/** Why the signal of a cancelled job aborts, and why its attempt failed. */
export const cancelledError = (): ConveyorError => new ConveyorError(CANCELLED_REASON, { code: 'JOB_CANCELLED' });

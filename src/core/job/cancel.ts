import { ConveyorError } from '../../model/errors.js';
import { cancelJob } from '../../store/change/end.js';
import { cancelFamily, type FamilyAnswer, type Member, removeFamily } from '../../store/change/family.js';
import { announceParents } from '../../store/events/announce.js';
import type { Lease } from '../../store/rules/lease.js';
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
  const done = outcome === 'ended' || outcome === 'signalled';
  if (done) announceCancelled(engine, queueName, id, outcome);
  announceParents(engine.notifier, parents);
  return done;
}

function announceCancelled(engine: Engine, queueName: string, id: string, outcome: 'ended' | 'signalled'): void {
  engine.notifier.publish('job:cancelled', queueName, id);
  if (outcome === 'signalled') return;
  engine.notifier.publish('job:failed', queueName, id, { data: CANCELLED_REASON, cancelled: true });
}

/** The same for a job and all its descendants. @returns true when it happened to any of them */
export async function cancelWithChildren(engine: Engine, queueName: string, id: string): Promise<boolean> {
  return (await announceFamily(engine, cancelFamily(engine.executor, queueName, id))).length > 0;
}

/** Removes a job and its descendants; active ones of these are cancelled. @returns whether the job was removed */
export async function removeWithChildren(
  engine: Engine,
  queueName: string,
  id: string,
  lease: Lease | null,
): Promise<boolean> {
  const members = await announceFamily(engine, removeFamily(engine.executor, queueName, id, lease));
  return members.some((member) => member.id === id && member.queueName === queueName);
}

async function announceFamily(engine: Engine, answer: Promise<FamilyAnswer>): Promise<readonly Member[]> {
  const { members, parents } = await answer;
  for (const { queueName, id, became } of members) {
    if (became === 'removed') engine.notifier.publish('job:removed', queueName, id);
    else announceCancelled(engine, queueName, id, became);
  }
  announceParents(engine.notifier, parents);
  return members;
}

/** Why the signal of a cancelled job aborts, and why its attempt failed. */
export const cancelledError = (): ConveyorError => new ConveyorError(CANCELLED_REASON, { code: 'JOB_CANCELLED' });

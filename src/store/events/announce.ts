import type { StoreEventType } from '../../model/event.js';
import type { ParentChange } from '../rules/cascade.js';
import type { Notifier } from './notifier.js';

const EVENT_OF: Partial<Record<ParentChange['state'], StoreEventType>> = {
  waiting: 'job:waiting',
  delayed: 'job:delayed',
  removed: 'job:removed',
};

/** For a delayed job whose due time is not known here: the poll that follows reads it. */
export const DUE_NOW = 0;

/** Publishes how ancestors have changed, and wakes the workers of those that can run now. */
export function announceParents(notifier: Notifier, parents: readonly ParentChange[]): void {
  for (const { queueName, id, state, reason } of parents) {
    const type = EVENT_OF[state];
    if (state === 'failed') notifier.publish('job:failed', queueName, id, { data: reason ?? '' });
    else if (type) notifier.publish(type, queueName, id);
    if (state === 'waiting') notifier.wake(queueName);
    else if (state === 'delayed') notifier.wake(queueName, DUE_NOW);
  }
}

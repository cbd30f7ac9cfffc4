import type { StoreEvent, StoreEventType } from '../model/event.js';
import type { EventHub } from './event-hub.js';
import type { ParentChange } from './settle.js';

const EVENT_OF: Partial<Record<ParentChange['state'], StoreEventType>> = {
  waiting: 'job:waiting',
  delayed: 'job:delayed',
  failed: 'job:failed',
  removed: 'job:removed',
};

/** Says what became of ancestors, and wakes the workers of those that can run now. */
export function announceParents(hub: EventHub, parents: readonly ParentChange[]): void {
  const events: StoreEvent[] = [];
  for (const { queueName, id, state, reason } of parents) {
    if (state === 'waiting') hub.ring(queueName);
    const type = EVENT_OF[state];
    if (!type) continue;
    const event: StoreEvent = { type, queueName, jobId: id, timestamp: new Date() };
    if (state === 'failed') event.data = { failedReason: reason ?? '' };
    events.push(event);
  }
  if (events.length > 0) hub.publish(events);
}

import type { StoreEvent, StoreEventType } from '../model/event.js';
import type { Engine } from '../store/engine.js';
import type { ParentChange } from '../store/settle.js';

export function jobEvent(type: StoreEventType, queueName: string, jobId: string, data?: unknown): StoreEvent {
  const event: StoreEvent = { type, queueName, jobId, timestamp: new Date() };
  if (data !== undefined) event.data = data;
  return event;
}

/** Says what became of ancestors, and wakes the workers of those that can run now. */
export function announceParents(engine: Engine, parents: readonly ParentChange[]): void {
  const events: StoreEvent[] = [];
  for (const { queueName, id, state, reason } of parents) {
    if (state === 'waiting') {
      events.push(jobEvent('job:waiting', queueName, id));
      engine.hub.ring(queueName);
    } else if (state === 'failed') {
      events.push(jobEvent('job:failed', queueName, id, { failedReason: reason ?? '' }));
    } else if (state === 'removed') {
      events.push(jobEvent('job:removed', queueName, id));
    } else if (state === 'delayed') {
      events.push(jobEvent('job:delayed', queueName, id));
    }
  }
  if (events.length > 0) engine.hub.publish(events);
}

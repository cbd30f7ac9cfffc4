import type { Executor } from '../../db/executor.js';
import type { StoreEventType } from '../../model/event.js';
import type { JobState } from '../../model/job.js';
import type { Notifier } from '../../store/events/notifier.js';
import type { OutgoingMessage } from '../../store/events/wire.js';
import { encodeEvent } from '../../store/events/wire-event.js';

interface QueueAnnouncement {
  readonly events: [StoreEventType, string][];
  wake: boolean;
  dueIn: number | null;
}

/** The events and wake-ups for jobs that were added, per queue. */
export class Announcement {
  readonly #queues = new Map<string, QueueAnnouncement>();

  /** @param dueIn ms until the job or its schedule is due; null: it can run now, or waits for its children */
  add(queueName: string, id: string, state: JobState, dueIn: number | null): void {
    const queue = this.#queue(queueName);
    queue.events.push([`job:${state}` as StoreEventType, id]);
    if (state === 'waiting') queue.wake = true;
    if (dueIn !== null) queue.dueIn = Math.min(queue.dueIn ?? dueIn, dueIn);
  }

  /** A job was deleted with it. */
  removed(queueName: string, id: string): void {
    this.#queue(queueName).events.push(['job:removed', id]);
  }

  #queue(queueName: string): QueueAnnouncement {
    let queue = this.#queues.get(queueName);
    if (!queue) {
      queue = { events: [], wake: false, dueIn: null };
      this.#queues.set(queueName, queue);
    }
    return queue;
  }

  /** Sends it now. */
  send(notifier: Notifier): void {
    for (const [queueName, { events, wake, dueIn }] of this.#queues) {
      for (const [type, id] of events) notifier.publish(type, queueName, id);
      if (wake) notifier.wake(queueName);
      if (dueIn !== null) notifier.wake(queueName, dueIn);
    }
  }

  /** Postgres delivers it if the transaction commits, and then. */
  async sendIn(notifier: Notifier, transaction: Executor): Promise<void> {
    if (this.#queues.size === 0) return;
    const messages = [...this.#queues].map(([queueName, { events, wake, dueIn }]): OutgoingMessage => {
      const encoded = events.map(([type, id]) => encodeEvent(type, id, Date.now()));
      return { queueName, events: encoded, wake, dueIn };
    });
    await notifier.notifyIn(transaction, messages);
  }
}

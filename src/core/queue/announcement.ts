import type { Executor } from '../../db/executor.js';
import type { StoreEventType } from '../../model/event.js';
import type { JobState } from '../../model/job.js';
import type { Notifier } from '../../store/events/notifier.js';
import type { OutgoingMessage } from '../../store/events/wire.js';
import { encodeEvent } from '../../store/events/wire-event.js';

/** Events of one type that follow each other. */
interface Run {
  readonly type: StoreEventType;
  readonly ids: string[];
}

interface QueueAnnouncement {
  readonly queueName: string;
  readonly runs: Run[];
  wake: boolean;
  dueIn: number | null;
}

const EVENT_OF: { readonly [S in JobState]: `job:${S}` } = {
  'waiting-children': 'job:waiting-children',
  waiting: 'job:waiting',
  delayed: 'job:delayed',
  active: 'job:active',
  completed: 'job:completed',
  failed: 'job:failed',
};

/** The events and wake-ups for jobs that were added, per queue. */
export class Announcement {
  readonly #queues = new Map<string, QueueAnnouncement>();
  /** Most announcements are of one queue. */
  #latest: QueueAnnouncement | undefined;

  /** @param dueIn ms until the job or its schedule is due; null: it can run now, or waits for its children */
  add(queueName: string, id: string, state: JobState, dueIn: number | null): void {
    const queue = this.#push(queueName, EVENT_OF[state], id);
    if (state === 'waiting') queue.wake = true;
    if (dueIn !== null) queue.dueIn = Math.min(queue.dueIn ?? dueIn, dueIn);
  }

  /** A job was deleted with it. */
  removed(queueName: string, id: string): void {
    this.#push(queueName, 'job:removed', id);
  }

  #push(queueName: string, type: StoreEventType, id: string): QueueAnnouncement {
    const queue = this.#latest?.queueName === queueName ? this.#latest : this.#queue(queueName);
    const last = queue.runs.at(-1);
    if (last?.type === type) last.ids.push(id);
    else queue.runs.push({ type, ids: [id] });
    return queue;
  }

  #queue(queueName: string): QueueAnnouncement {
    let queue = this.#queues.get(queueName);
    if (!queue) {
      queue = { queueName, runs: [], wake: false, dueIn: null };
      this.#queues.set(queueName, queue);
    }
    this.#latest = queue;
    return queue;
  }

  /** Sends it now. */
  send(notifier: Notifier): void {
    for (const { queueName, runs, wake, dueIn } of this.#queues.values()) {
      for (const { type, ids } of runs) notifier.publishAll(type, queueName, ids);
      if (wake) notifier.wake(queueName);
      if (dueIn !== null) notifier.wake(queueName, dueIn);
    }
  }

  /** Postgres delivers it if the transaction commits, and then. */
  async sendIn(notifier: Notifier, transaction: Executor): Promise<void> {
    if (this.#queues.size === 0) return;
    const messages = [...this.#queues.values()].map(({ queueName, runs, wake, dueIn }): OutgoingMessage => {
      const events = runs.flatMap(({ type, ids }) => ids.map((id) => encodeEvent(type, id, Date.now())));
      return { queueName, events, wake, dueIn };
    });
    await notifier.notifyIn(transaction, messages);
  }
}

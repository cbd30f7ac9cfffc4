import type { Executor } from '../../db/executor.js';
import type { StoreEventType } from '../../model/event.js';
import type { JobState } from '../../model/job.js';
import type { EventHub } from '../../store/events/notifier.js';
import { encodeEvent, type Outgoing } from '../../store/events/wire.js';

interface News {
  readonly added: [StoreEventType, string][];
  bell: boolean;
  dueIn: number | null;
}

/** What is to be said of jobs that were added: at once, or when a caller's transaction commits. */
export class Announcement {
  readonly #queues = new Map<string, News>();

  /** @param dueIn ms until something of the job's comes due; null: it can run, or waits for its children */
  add(queueName: string, id: string, state: JobState, dueIn: number | null): void {
    let news = this.#queues.get(queueName);
    if (!news) {
      news = { added: [], bell: false, dueIn: null };
      this.#queues.set(queueName, news);
    }
    news.added.push([`job:${state}` as StoreEventType, id]);
    if (state === 'waiting') news.bell = true;
    if (dueIn !== null) news.dueIn = Math.min(news.dueIn ?? dueIn, dueIn);
  }

  send(hub: EventHub): void {
    for (const [queueName, { added, bell, dueIn }] of this.#queues) {
      for (const [type, id] of added) hub.tell(type, queueName, id);
      if (bell) hub.ring(queueName);
      if (dueIn !== null) hub.ring(queueName, dueIn);
    }
  }

  /** Heard when the transaction commits, and only then. */
  async sendIn(hub: EventHub, transaction: Executor): Promise<void> {
    if (this.#queues.size === 0) return;
    const messages = [...this.#queues].map(([queueName, { added, bell, dueIn }]): Outgoing => {
      const events = added.map(([type, id]) => encodeEvent(type, id, Date.now(), undefined));
      return { queueName, events, bell, dueIn };
    });
    await hub.announceIn(transaction, messages);
  }
}

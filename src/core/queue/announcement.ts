import type { Executor } from '../../db/executor.js';
import type { StoreEventType } from '../../model/event.js';
import type { JobState } from '../../model/job.js';
import type { Notifier } from '../../store/events/notifier.js';
import { encodeEvent, type OutgoingMessage } from '../../store/events/wire.js';

interface News {
  readonly added: [StoreEventType, string][];
  wake: boolean;
  dueIn: number | null;
}

/** What is to be said of jobs that were added: at once, or when a caller's transaction commits. */
export class Announcement {
  readonly #queues = new Map<string, News>();

  /** @param dueIn ms until something of the job's comes due; null: it can run, or waits for its children */
  add(queueName: string, id: string, state: JobState, dueIn: number | null): void {
    let news = this.#queues.get(queueName);
    if (!news) {
      news = { added: [], wake: false, dueIn: null };
      this.#queues.set(queueName, news);
    }
    news.added.push([`job:${state}` as StoreEventType, id]);
    if (state === 'waiting') news.wake = true;
    if (dueIn !== null) news.dueIn = Math.min(news.dueIn ?? dueIn, dueIn);
  }

  send(notifier: Notifier): void {
    for (const [queueName, { added, wake, dueIn }] of this.#queues) {
      for (const [type, id] of added) notifier.publish(type, queueName, id);
      if (wake) notifier.wake(queueName);
      if (dueIn !== null) notifier.wake(queueName, dueIn);
    }
  }

  /** Heard when the transaction commits, and only then. */
  async sendIn(notifier: Notifier, transaction: Executor): Promise<void> {
    if (this.#queues.size === 0) return;
    const messages = [...this.#queues].map(([queueName, { added, wake, dueIn }]): OutgoingMessage => {
      const events = added.map(([type, id]) => encodeEvent(type, id, Date.now(), undefined));
      return { queueName, events, wake, dueIn };
    });
    await notifier.notifyIn(transaction, messages);
  }
}

import type { Logger } from '../../model/logger.js';
import type { OutgoingMessage } from './wire.js';

/** Between two sends. The first message of a quiet process goes at once; those of a busy one are sent together. */
const SEND_INTERVAL_MS = 3;
/** Beyond these the outbox does not wait for the interval. */
const MAX_WAITING_EVENTS = 2_000;
const MAX_WAITING_CHARS = 1024 * 1024;
/** What is kept at most while a send is under way: the database may not answer for half a minute. */
export const MAX_EVENTS = 100_000;
export const MAX_CHARS = 32 * 1024 * 1024;

export interface OutboxOptions {
  /** Sends messages to the other processes; undefined when there is no connection, and they are lost. */
  send(messages: readonly OutgoingMessage[]): Promise<unknown> | undefined;
  logger: Logger;
}

/**
 * Collects the messages for other processes, one per queue, and sends them: one send at a time, at an interval.
 *
 * Memory is bounded. When a send takes so long that the bound is reached, the events are dropped, and until the send
 * returns so are all new ones; their queues get a wake-up instead, and readers find the rest in the tables.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  #messages = new Map<string, OutgoingMessage>();
  #events = 0;
  #chars = 0;
  #overflowed = false;
  #sending: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastSent = Number.NEGATIVE_INFINITY;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** @param event as `encodeEvent` makes it */
  addEvent(queueName: string, event: string): void {
    const message = this.#messageFor(queueName);
    if (this.#sending && (this.#events >= MAX_EVENTS || this.#chars + event.length > MAX_CHARS)) this.#overflow();
    if (this.#overflowed) {
      message.wake = true;
      return;
    }
    message.events.push(event);
    this.#events++;
    this.#chars += event.length;
    this.#schedule();
  }

  /** @param dueIn ms until a job comes due; null: jobs can run now */
  addWake(queueName: string, dueIn: number | null): void {
    const message = this.#messageFor(queueName);
    if (dueIn === null) message.wake = true;
    else message.dueIn = Math.min(message.dueIn ?? dueIn, dueIn);
    this.#schedule();
  }

  /** Resolves when everything added so far has been sent, or has failed to be. */
  async flush(): Promise<void> {
    while (this.#messages.size > 0 || this.#sending) {
      if (!this.#sending) this.#send();
      await this.#sending;
    }
  }

  /** Drops what has not been sent. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#take();
  }

  #messageFor(queueName: string): OutgoingMessage {
    let message = this.#messages.get(queueName);
    if (!message) {
      message = { queueName, events: [], wake: false, dueIn: null };
      this.#messages.set(queueName, message);
    }
    return message;
  }

  #overflow(): void {
    this.#options.logger.warn(
      `conveyor: sending notifications takes too long: dropped ${this.#events} events, and drops new ones until it has ` +
        'finished; other processes find the jobs in the tables',
    );
    for (const message of this.#messages.values()) {
      message.events.length = 0;
      message.wake = true;
    }
    this.#overflowed = true;
    this.#events = 0;
    this.#chars = 0;
  }

  #schedule(): void {
    if (this.#messages.size === 0 || this.#sending) return;
    const wait = this.#lastSent + SEND_INTERVAL_MS - performance.now();
    if (wait <= 0 || this.#events > MAX_WAITING_EVENTS || this.#chars > MAX_WAITING_CHARS) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), wait);
  }

  #take(): OutgoingMessage[] {
    const messages = [...this.#messages.values()];
    this.#messages = new Map();
    this.#events = 0;
    this.#chars = 0;
    return messages;
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const sent = this.#options.send(this.#take());
    if (!sent) return;
    this.#lastSent = performance.now();
    this.#sending = sent
      .then(
        () => {},
        (error) => this.#options.logger.warn(`conveyor: could not send notifications: ${(error as Error).message}`),
      )
      .finally(() => {
        this.#sending = undefined;
        this.#overflowed = false;
        this.#schedule();
      });
  }
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import type { EventDetails, StoreEvent, StoreEventCallback, StoreEventType } from '../../model/event.js';
import type { Logger } from '../../model/logger.js';
import { Outbox } from './outbox.js';
import { Subscriptions, type WakeCallback } from './subscriptions.js';
import { channelOf, Decoder, encodeMessage, type OutgoingMessage } from './wire.js';
import { encodeCompleted, encodeEvent, encodeStoreEvent } from './wire-event.js';

const notify = statement(
  'notify',
  ['messages'],
  (_db, p) => sql`
    select ${columns(sql`count(pg_notify(m.c, m.p))`)} from jsonb_to_recordset(${p.messages}::jsonb) as m(c text, p text)`,
);

export interface NotifierOptions {
  /** Undefined while the store is not connected: then nothing is sent. */
  executor: () => Executor | undefined;
  /** The Postgres schema of the tables; it is part of the channels' names. */
  schema: string | undefined;
  /** Identifies this store in its messages, so that it ignores its own. */
  source: string;
  logger: Logger;
  /** A subscriber threw, or its promise was rejected. */
  onEventHandlerError: (error: unknown, event: StoreEvent) => void;
  /** LISTEN and UNLISTEN. */
  listen: (channel: string) => void;
  unlisten: (channel: string) => void;
}

/**
 * Events and wake-ups: delivered in this process at once, and sent to the others by NOTIFY after the commit, batched, in
 * a statement of its own (in the transaction of the data NOTIFY holds a lock on the whole server during the write to
 * disk). No call waits for it or fails with it: notifications are hints; the tables are the truth.
 */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #decoder: Decoder;
  readonly #subscriptions: Subscriptions;
  readonly #outbox: Outbox;

  constructor(options: NotifierOptions) {
    const { source, logger, onEventHandlerError, listen, unlisten } = options;
    this.#options = options;
    this.#decoder = new Decoder(source);
    this.#subscriptions = new Subscriptions({
      logger,
      onEventHandlerError,
      onFirst: (queueName) => listen(this.#channel(queueName)),
      onLast: (queueName) => unlisten(this.#channel(queueName)),
    });
    this.#outbox = new Outbox({ logger, send: (messages) => this.#send(messages) });
  }

  subscribe(queueName: string, callback: StoreEventCallback): void {
    this.#subscriptions.subscribe(queueName, callback);
  }

  /** @param callback default: every subscriber of the queue */
  unsubscribe(queueName: string, callback?: StoreEventCallback): void {
    this.#subscriptions.unsubscribe(queueName, callback);
  }

  /**
   * For this package's own parts: `unsubscribe` does not end it. Returns a function that does.
   *
   * @param types only events of these types; default: all
   */
  on(queueName: string, callback: StoreEventCallback, types?: ReadonlySet<string>): () => void {
    return this.#subscriptions.on(queueName, callback, types);
  }

  /** Calls back when jobs of the queue may be ready to run. Returns a function that ends this. */
  onWake(queueName: string, callback: WakeCallback): () => void {
    return this.#subscriptions.onWake(queueName, callback);
  }

  /** The channels of the queues that have a subscriber. */
  channels(): string[] {
    return this.#subscriptions.queues().map((queueName) => this.#channel(queueName));
  }

  publishEvent(event: StoreEvent): void {
    // Encoded first: a subscriber may change the event, or publish another in response.
    this.#outbox.addEvent(event.queueName, encodeStoreEvent(event));
    this.#subscriptions.deliver(event);
  }

  /** The same for an event of the present; without a subscriber in this process the object is not even made. */
  publish<Type extends StoreEventType>(
    type: Type,
    queueName: string,
    jobId?: string,
    details?: EventDetails<Type>,
  ): void {
    const timestamp = Date.now();
    this.#outbox.addEvent(queueName, encodeEvent(type, jobId, timestamp, details));
    if (!this.#subscriptions.has(queueName, type)) return;
    this.#subscriptions.deliver({
      type,
      queueName,
      ...(jobId !== undefined && { jobId }),
      timestamp: new Date(timestamp),
      ...details,
    } as StoreEvent);
  }

  /** The same for many jobs. */
  publishAll(type: StoreEventType, queueName: string, jobIds: readonly string[]): void {
    if (this.#subscriptions.has(queueName, type)) {
      for (const id of jobIds) this.publish(type, queueName, id);
      return;
    }
    const timestamp = Date.now();
    for (const id of jobIds) this.#outbox.addEvent(queueName, encodeEvent(type, id, timestamp));
  }

  /** `job:completed`. @param result as JSON text; undefined: it is too large for an event */
  publishCompleted(queueName: string, jobId: string, result: string | undefined): void {
    const timestamp = Date.now();
    this.#outbox.addEvent(queueName, encodeCompleted(jobId, timestamp, result));
    if (!this.#subscriptions.has(queueName, 'job:completed')) return;
    const details = result === undefined ? { partial: true } : { data: JSON.parse(result) };
    this.#subscriptions.deliver({
      type: 'job:completed',
      queueName,
      jobId,
      timestamp: new Date(timestamp),
      ...details,
    });
  }

  /**
   * Wakes the queue's workers: jobs can run now, or, with `dueIn`, one comes due in so many ms. However late that is:
   * another process may poll only when something is due.
   */
  wake(queueName: string, dueIn: number | null = null): void {
    this.#subscriptions.wake(queueName, dueIn);
    this.#outbox.addWake(queueName, dueIn);
  }

  /** Sends messages from inside a caller's transaction: they arrive when it commits, and only then. */
  async notifyIn(transaction: Executor, messages: readonly OutgoingMessage[]): Promise<void> {
    // Without a source: this process must receive it as well, as it does not know when the transaction commits.
    await transaction.run(notify, { messages: this.#encode('', messages) });
  }

  /** Handles the payload of a notification. */
  receive(payload: string): void {
    const message = this.#decoder.decode(payload);
    if (!message) return;
    for (const event of message.events) this.#subscriptions.deliver(event);
    if (message.wake) this.#subscriptions.wake(message.queueName, null);
    if (message.dueIn !== null) this.#subscriptions.wake(message.queueName, message.dueIn);
  }

  /** Resolves when everything published so far has been sent, or has failed to be. */
  flush(): Promise<void> {
    return this.#outbox.flush();
  }

  /** Forgets subscribers and what has not been sent. */
  clear(): void {
    this.#subscriptions.clear();
    this.#outbox.clear();
  }

  #channel(queueName: string): string {
    return channelOf(queueName, this.#options.schema);
  }

  async #run(executor: Executor, messages: readonly OutgoingMessage[]): Promise<void> {
    await executor.run(notify, { messages: this.#encode(this.#options.source, messages) });
  }

  #send(messages: readonly OutgoingMessage[]): Promise<void> | undefined {
    const executor = this.#options.executor();
    return executor && this.#run(executor, messages);
  }

  #encode(source: string, messages: readonly OutgoingMessage[]): string {
    return JSON.stringify(
      messages.flatMap((message) => {
        const c = this.#channel(message.queueName);
        return encodeMessage(source, message).map((p) => ({ c, p }));
      }),
    );
  }
}

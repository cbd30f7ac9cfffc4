import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import type { StoreEvent, StoreEventCallback, StoreEventType } from '../../model/event.js';
import type { Logger } from '../../model/logger.js';
import {
  channelOf,
  Decoder,
  encodedEvent,
  encodeEvent,
  encodeEventJson,
  encodeMessage,
  type OutgoingMessage,
} from './wire.js';

const notify = statement(
  'notify',
  ['messages'],
  (_db, p) => sql`
    select ${columns(sql`count(pg_notify(m.c, m.p))`)} from jsonb_to_recordset(${p.messages}::jsonb) as m(c text, p text)`,
);

/** After the first notification, the next ones of a busy process travel together, this often. */
const FLUSH_MS = 3;
/** Payload text of one NOTIFY statement. */
const MAX_FLUSH_EVENTS = 2_000;

/** Told that jobs of a queue may run now (null), or that one comes due in so many ms. */
export type WakeCallback = (dueIn: number | null) => void;

/** A look at the tables finds what comes due later than this. */
const MAX_DUE_NOTICE_MS = 15_000;

/** Whether it is worth telling that a job comes due in so many ms. */
export const isDueSoon = (dueIn: number): boolean => dueIn <= MAX_DUE_NOTICE_MS;

interface InternalSubscriber {
  readonly callback: StoreEventCallback;
  /** Others it does not hear. */
  readonly types: ReadonlySet<string> | undefined;
}

export interface NotifierOptions {
  executor: () => Executor | undefined;
  schema: string | undefined;
  source: string;
  logger: Logger;
  onEventHandlerError: (error: unknown, event: StoreEvent) => void;
  /** Makes other processes' notifications of a channel arrive, or stops them. */
  listen: (channel: string) => void;
  unlisten: (channel: string) => void;
}

/**
 * Events and doorbells: to this process at once, to the others by NOTIFY after the commit, in a statement of its own
 * (inside the data's transaction it would hold a lock of the whole server through the write to disk), batched.
 * Nothing waits for it and nothing fails with it: it is a hint; the tables are the truth.
 */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #decoder: Decoder;
  readonly #subscribers = new Map<string, Set<StoreEventCallback>>();
  readonly #internalSubscribers = new Map<string, Set<InternalSubscriber>>();
  readonly #wakeCallbacks = new Map<string, Set<WakeCallback>>();
  #outbox = new Map<string, OutgoingMessage>();
  #outboxSize = 0;
  #sending: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastSent = 0;

  constructor(options: NotifierOptions) {
    this.#options = options;
    this.#decoder = new Decoder(options.source);
  }

  subscribe(queueName: string, callback: StoreEventCallback): void {
    this.#add(this.#subscribers, queueName, callback);
  }

  unsubscribe(queueName: string, callback?: StoreEventCallback): void {
    this.#remove(this.#subscribers, queueName, callback);
  }

  /**
   * For this package's own parts: `unsubscribe` of a whole queue does not end it. Returns what does.
   *
   * @param types hear only these; default: all
   */
  on(queueName: string, callback: StoreEventCallback, types?: ReadonlySet<string>): () => void {
    const follower = { callback, types };
    this.#add(this.#internalSubscribers, queueName, follower);
    return () => this.#remove(this.#internalSubscribers, queueName, follower);
  }

  /** Calls back when jobs of the queue may be there for the taking; returns what ends it. */
  onWake(queueName: string, callback: WakeCallback): () => void {
    this.#add(this.#wakeCallbacks, queueName, callback);
    return () => this.#remove(this.#wakeCallbacks, queueName, callback);
  }

  /** Channels that somebody here wants to hear. */
  channels(): string[] {
    const queues = [this.#subscribers, this.#internalSubscribers, this.#wakeCallbacks].flatMap((map) => [
      ...map.keys(),
    ]);
    return [...new Set(queues)].map((queue) => this.#channel(queue));
  }

  publishEvent(event: StoreEvent): void {
    // First for the others: who hears it here may change it, or publish what follows from it.
    this.#post(event.queueName, encodedEvent(event));
    this.#deliver(event);
  }

  /** The same for an event of now. Where nobody here listens, it is not even made. */
  publish(type: StoreEventType, queueName: string, jobId?: string, data?: unknown): void {
    const timestamp = Date.now();
    this.#post(queueName, encodeEvent(type, jobId, timestamp, data));
    if (this.#hasSubscriber(queueName, type)) this.#deliver(newEvent(type, queueName, jobId, timestamp, data));
  }

  /** The same with the event's data as the JSON text that it is already. */
  publishJson(type: StoreEventType, queueName: string, jobId: string, data: string): void {
    const timestamp = Date.now();
    this.#post(queueName, encodeEventJson(type, jobId, timestamp, data));
    if (this.#hasSubscriber(queueName, type))
      this.#deliver(newEvent(type, queueName, jobId, timestamp, JSON.parse(data)));
  }

  /** Tells workers that jobs of the queue can run now, or that one comes due in so many ms. */
  wake(queueName: string, dueIn: number | null = null): void {
    if (dueIn !== null && !isDueSoon(dueIn)) return;
    this.#wakeHere(queueName, dueIn);
    const message = this.#message(queueName);
    if (dueIn === null) message.wake = true;
    else message.dueIn = Math.min(message.dueIn ?? dueIn, dueIn);
    this.#outboxSize++;
    this.#schedule();
  }

  /** The same from inside a caller's transaction: heard when it commits, and only then. */
  async notifyIn(transaction: Executor, messages: readonly OutgoingMessage[]): Promise<void> {
    // No sender: this process must hear it as well, for it does not know when the transaction commits.
    await transaction.run(notify, { messages: this.#encode('', messages) });
  }

  /** A notification arrived. */
  receive(payload: string): void {
    const message = this.#decoder.decode(payload);
    if (!message) return;
    for (const event of message.events) this.#deliver(event);
    if (message.wake) this.#wakeHere(message.queueName, null);
    if (message.dueIn !== null) this.#wakeHere(message.queueName, message.dueIn);
  }

  /** Resolves when what was published so far has been sent, or could not be. */
  async flush(): Promise<void> {
    while (this.#outboxSize > 0 || this.#sending) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      if (!this.#sending) this.#send();
      await this.#sending;
    }
  }

  clear(): void {
    clearTimeout(this.#timer);
    // Else it would still seem to be set when the store is connected again.
    this.#timer = undefined;
    this.#subscribers.clear();
    this.#internalSubscribers.clear();
    this.#wakeCallbacks.clear();
    this.#outbox.clear();
    this.#outboxSize = 0;
  }

  #channel(queueName: string): string {
    return channelOf(queueName, this.#options.schema);
  }

  #add<T>(map: Map<string, Set<T>>, queueName: string, callback: T): void {
    let set = map.get(queueName);
    if (!set) {
      set = new Set();
      map.set(queueName, set);
    }
    set.add(callback);
    this.#options.listen(this.#channel(queueName));
  }

  #remove<T>(map: Map<string, Set<T>>, queueName: string, callback?: T): void {
    const set = map.get(queueName);
    if (!set) return;
    if (callback) set.delete(callback);
    else set.clear();
    if (set.size > 0) return;
    map.delete(queueName);
    if (![this.#subscribers, this.#internalSubscribers, this.#wakeCallbacks].some((other) => other.has(queueName))) {
      this.#options.unlisten(this.#channel(queueName));
    }
  }

  #hasSubscriber(queueName: string, type: StoreEventType): boolean {
    if (this.#subscribers.has(queueName)) return true;
    for (const { types } of this.#internalSubscribers.get(queueName) ?? []) if (!types || types.has(type)) return true;
    return false;
  }

  #deliver(event: StoreEvent): void {
    const subscribers = this.#subscribers.get(event.queueName) ?? [];
    const followers = [...(this.#internalSubscribers.get(event.queueName) ?? [])]
      .filter(({ types }) => !types || types.has(event.type))
      .map(({ callback }) => callback);
    for (const callback of [...followers, ...subscribers]) {
      try {
        const result: unknown = callback(event);
        if (result instanceof Promise) result.catch((error) => this.#handlerFailed(error, event));
      } catch (error) {
        this.#handlerFailed(error, event);
      }
    }
  }

  #handlerFailed(error: unknown, event: StoreEvent): void {
    try {
      this.#options.onEventHandlerError(error, event);
    } catch (second) {
      this.#options.logger.error('conveyor: onEventHandlerError itself threw', second);
    }
  }

  #wakeHere(queueName: string, dueIn: number | null): void {
    for (const callback of [...(this.#wakeCallbacks.get(queueName) ?? [])]) callback(dueIn);
  }

  #post(queueName: string, event: string): void {
    this.#message(queueName).events.push(event);
    this.#outboxSize++;
    this.#schedule();
  }

  #message(queueName: string): OutgoingMessage {
    let message = this.#outbox.get(queueName);
    if (!message) {
      message = { queueName, events: [], wake: false, dueIn: null };
      this.#outbox.set(queueName, message);
    }
    return message;
  }

  #encode(source: string, messages: readonly OutgoingMessage[]): string {
    return JSON.stringify(
      messages.flatMap((message) =>
        encodeMessage(source, message).map((p) => ({ c: this.#channel(message.queueName), p })),
      ),
    );
  }

  #schedule(): void {
    if (this.#outboxSize === 0 || this.#timer || this.#sending) return;
    const wait = this.#lastSent + FLUSH_MS - performance.now();
    if (wait <= 0 || this.#outboxSize > MAX_FLUSH_EVENTS) {
      this.#send();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#send();
    }, wait);
  }

  #send(): void {
    const messages = [...this.#outbox.values()];
    this.#outbox = new Map();
    this.#outboxSize = 0;
    const executor = this.#options.executor();
    if (messages.length === 0 || !executor) return;
    this.#lastSent = performance.now();
    this.#sending = Promise.resolve()
      .then(() => executor.run(notify, { messages: this.#encode(this.#options.source, messages) }))
      .then(
        () => {},
        (error) => this.#options.logger.warn(`conveyor: a notification could not be sent: ${(error as Error).message}`),
      )
      .finally(() => {
        this.#sending = undefined;
        this.#schedule();
      });
  }
}

function newEvent(
  type: StoreEventType,
  queueName: string,
  jobId: string | undefined,
  timestamp: number,
  data: unknown,
): StoreEvent {
  const event: StoreEvent = { type, queueName, timestamp: new Date(timestamp) };
  if (jobId !== undefined) event.jobId = jobId;
  if (data !== undefined) event.data = data;
  return event;
}

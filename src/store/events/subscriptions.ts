import type { StoreEvent, StoreEventCallback } from '../../model/event.js';
import type { Logger } from '../../model/logger.js';
import { watched } from '../../model/watched.js';

/** Called when jobs of a queue may be ready to run (null), or when one comes due in so many ms. */
export type WakeCallback = (dueIn: number | null) => void;

interface InternalSubscriber {
  readonly callback: StoreEventCallback;
  /** The types it receives; undefined: all. */
  readonly types: ReadonlySet<string> | undefined;
}

export interface SubscriptionsOptions {
  /** A queue has its first subscriber. */
  onFirst: (queueName: string) => void;
  /** A queue has lost its last subscriber. */
  onLast: (queueName: string) => void;
  onEventHandlerError: (error: unknown, event: StoreEvent) => void;
  logger: Logger;
}

/** Who in this process receives the events and wake-ups of which queue. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #subscribers = new Map<string, Set<StoreEventCallback>>();
  readonly #internalSubscribers = new Map<string, Set<InternalSubscriber>>();
  readonly #wakeCallbacks = new Map<string, Set<WakeCallback>>();

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  subscribe(queueName: string, callback: StoreEventCallback): void {
    this.#add(this.#subscribers, queueName, callback);
  }

  /** @param callback default: every subscriber of the queue, except those of `on` and `onWake` */
  unsubscribe(queueName: string, callback?: StoreEventCallback): void {
    this.#remove(this.#subscribers, queueName, callback);
  }

  on(queueName: string, callback: StoreEventCallback, types?: ReadonlySet<string>): () => void {
    const subscriber = { callback, types };
    this.#add(this.#internalSubscribers, queueName, subscriber);
    return () => this.#remove(this.#internalSubscribers, queueName, subscriber);
  }

  onWake(queueName: string, callback: WakeCallback): () => void {
    this.#add(this.#wakeCallbacks, queueName, callback);
    return () => this.#remove(this.#wakeCallbacks, queueName, callback);
  }

  /** Every queue with a subscriber, once. */
  queues(): string[] {
    return [...new Set(this.#all().flatMap((map) => [...map.keys()]))];
  }

  /** Whether an event of this type has a subscriber. */
  has(queueName: string, type: string): boolean {
    if (this.#subscribers.has(queueName)) return true;
    for (const { types } of this.#internalSubscribers.get(queueName) ?? []) if (!types || types.has(type)) return true;
    return false;
  }

  /** What a subscriber throws, or rejects with, goes to `onEventHandlerError`. */
  deliver(event: StoreEvent): void {
    const internal = this.#internalTo(event.queueName, event.type).map(({ callback }) => callback);
    for (const callback of [...internal, ...(this.#subscribers.get(event.queueName) ?? [])]) {
      watched(
        () => callback(event),
        (error) => this.#handlerFailed(error, event),
      );
    }
  }

  wake(queueName: string, dueIn: number | null): void {
    for (const callback of [...(this.#wakeCallbacks.get(queueName) ?? [])]) callback(dueIn);
  }

  /** Forgets all of them, without a call of `onLast`. */
  clear(): void {
    for (const map of this.#all()) map.clear();
  }

  #all(): Map<string, Set<unknown>>[] {
    return [this.#subscribers, this.#internalSubscribers, this.#wakeCallbacks] as Map<string, Set<unknown>>[];
  }

  #isSubscribed(queueName: string): boolean {
    return this.#all().some((map) => map.has(queueName));
  }

  #internalTo(queueName: string, type: string): InternalSubscriber[] {
    return [...(this.#internalSubscribers.get(queueName) ?? [])].filter(({ types }) => !types || types.has(type));
  }

  #add<T>(map: Map<string, Set<T>>, queueName: string, subscriber: T): void {
    const isFirst = !this.#isSubscribed(queueName);
    const set = map.get(queueName) ?? new Set();
    map.set(queueName, set.add(subscriber));
    if (isFirst) this.#options.onFirst(queueName);
  }

  #remove<T>(map: Map<string, Set<T>>, queueName: string, subscriber?: T): void {
    const set = map.get(queueName);
    if (!set) return;
    if (subscriber) set.delete(subscriber);
    else set.clear();
    if (set.size > 0) return;
    map.delete(queueName);
    if (!this.#isSubscribed(queueName)) this.#options.onLast(queueName);
  }

  #handlerFailed(error: unknown, event: StoreEvent): void {
    const { onEventHandlerError, logger } = this.#options;
    watched(
      () => onEventHandlerError(error, event),
      (second) => logger.error('conveyor: onEventHandlerError threw', second),
    );
  }
}

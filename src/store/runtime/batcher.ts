import { faultOf, isLockTimeout, isPassing } from '../../db/errors.js';
import { ConnectionError } from '../../model/errors.js';

/** A value of a batch, with the callbacks for its own result. */
export interface BatchItem<T, R> {
  readonly value: T;
  readonly size: number;
  /** Called once its batch is committed; like `reject` it must not throw. */
  resolve(result: R): void;
  reject(error: unknown): void;
}

export interface BatcherOptions {
  /** Most items of one batch. */
  maxItems: number;
  /** Largest sum of `size` of one batch; a single item that is larger goes alone. */
  maxSize: number;
  /** Most batches under way at once. */
  parallel: number;
  /** Refusals for which a batch rejects as a whole; after any other it is sent again item by item. */
  neverSplitOn?: (error: unknown) => boolean;
}

/** For batches that become one JSON parameter: its bytes stay well below what jsonb can hold. */
export const MAX_BATCH = { maxItems: 1_000, maxSize: 8 * 1024 * 1024 };

/**
 * Sends values in batches. There is no timer: with nothing under way a batch is sent in the same turn of the event loop,
 * otherwise values collect until one returns. So a single call does not wait, and under load a batch holds whatever
 * arrives during one round trip.
 */
export class Batcher<T, R> {
  readonly #send: (values: T[]) => Promise<R[]>;
  readonly #options: BatcherOptions;
  #items: BatchItem<T, R>[] = [];
  /** Index of the first item that has not been sent. */
  #first = 0;
  #underWay = 0;
  #scheduled = false;
  #idleCallbacks: (() => void)[] = [];

  /** @param send resolves to one result per value, in their order, once they are committed */
  constructor(send: (values: T[]) => Promise<R[]>, options: BatcherOptions) {
    this.#send = send;
    this.#options = options;
  }

  /** Resolves with the value's own result once its batch is committed. */
  push(value: T, size = 1): Promise<R> {
    return new Promise((resolve, reject) => this.add({ value, size, resolve, reject }));
  }

  /** The same with callbacks, for a caller that has no use for a promise per value. */
  add(item: BatchItem<T, R>): void {
    this.#items.push(item);
    this.#schedule();
  }

  /** Resolves when nothing is queued or under way. */
  async idle(): Promise<void> {
    if (this.#isEmpty && this.#underWay === 0) return;
    await new Promise<void>((resolve) => this.#idleCallbacks.push(resolve));
  }

  get #isEmpty(): boolean {
    return this.#first === this.#items.length;
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay >= this.#options.parallel) return;
    this.#scheduled = true;
    // After the current turn, so that calls made together are sent together.
    setImmediate(() => {
      this.#scheduled = false;
      while (!this.#isEmpty && this.#underWay < this.#options.parallel) void this.#sendBatch(this.#take());
    });
  }

  #take(): BatchItem<T, R>[] {
    const { maxItems, maxSize } = this.#options;
    const first = this.#first;
    let size = 0;
    let end = first;
    for (; end < this.#items.length; end++) {
      const item = this.#items[end] as BatchItem<T, R>;
      if (end > first && (end - first >= maxItems || size + item.size > maxSize)) break;
      size += item.size;
    }
    const batch = this.#items.slice(first, end);
    this.#first = end;
    // Only when at least half of them are sent: so each item is moved once on average, however long the queue is.
    if (end * 2 >= this.#items.length) {
      this.#items = this.#items.slice(end);
      this.#first = 0;
    }
    return batch;
  }

  async #sendBatch(items: BatchItem<T, R>[]): Promise<void> {
    this.#underWay++;
    try {
      const results = await this.#send(items.map((item) => item.value));
      items.forEach((item, i) => {
        item.resolve(results[i] as R);
      });
    } catch (error) {
      if (items.length > 1 && this.#maySplit(error)) await this.#sendOneByOne(items);
      else for (const item of items) item.reject(error);
    } finally {
      this.#underWay--;
      if (!this.#isEmpty) this.#schedule();
      else if (this.#underWay === 0) for (const resolve of this.#idleCallbacks.splice(0)) resolve();
    }
  }

  /** A value that the server refuses, or that waits for a lock, must not fail the others of its batch. */
  #maySplit(error: unknown): boolean {
    if (error instanceof ConnectionError || this.#options.neverSplitOn?.(error)) return false;
    return faultOf(error) === 'refused' && (!isPassing(error) || isLockTimeout(error));
  }

  async #sendOneByOne(items: BatchItem<T, R>[]): Promise<void> {
    for (const item of items) {
      try {
        const [result] = await this.#send([item.value]);
        item.resolve(result as R);
      } catch (error) {
        item.reject(error);
      }
    }
  }
}

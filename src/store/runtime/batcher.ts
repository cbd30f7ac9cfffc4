import { faultOf } from '../../db/errors.js';
import { ConnectionError } from '../../model/errors.js';

/** What is asked for, and who waits for its own result. */
export interface BatchItem<T, R> {
  readonly value: T;
  readonly size: number;
  /** Called once its flush is committed; like `reject` it must not throw. */
  resolve(result: R): void;
  reject(error: unknown): void;
}

export interface BatcherOptions {
  /** Most items of one flush. */
  maxItems: number;
  /** Most of `size` of one flush; a larger single item goes alone. */
  maxSize: number;
  /** Flushes under way at once. */
  parallel: number;
  /** Refusals after which whoever asked tries again by himself; after others the batch is sent again one by one. */
  notOneByOne?: (error: unknown) => boolean;
}

/**
 * Collects what is asked for at once into one flush. There is no timer: with nothing under way it flushes in the
 * same turn of the event loop, else what came meanwhile goes together when a flush returns. So a lone call pays no
 * wait, and under load batches grow to what one round trip's time brings.
 */
export class Batcher<T, R> {
  readonly #flush: (values: T[]) => Promise<R[]>;
  readonly #options: BatcherOptions;
  #queue: BatchItem<T, R>[] = [];
  #underWay = 0;
  #scheduled = false;
  #idle: (() => void)[] = [];

  constructor(flush: (values: T[]) => Promise<R[]>, options: BatcherOptions) {
    this.#flush = flush;
    this.#options = options;
  }

  /** Resolves with this value's own result once its flush is committed. */
  push(value: T, size = 1): Promise<R> {
    return new Promise((resolve, reject) => this.add({ value, size, resolve, reject }));
  }

  /** The same without a promise, for what comes by the thousand. */
  add(item: BatchItem<T, R>): void {
    this.#queue.push(item);
    this.#schedule();
  }

  /** Resolves when nothing is queued or under way. */
  async idle(): Promise<void> {
    if (this.#queue.length === 0 && this.#underWay === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay >= this.#options.parallel) return;
    this.#scheduled = true;
    // After the current turn, so that calls made together travel together.
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#queue.length > 0 && this.#underWay < this.#options.parallel) void this.#send(this.#take());
    });
  }

  #take(): BatchItem<T, R>[] {
    const { maxItems, maxSize } = this.#options;
    let size = 0;
    let count = 0;
    for (const item of this.#queue) {
      if (count > 0 && (count >= maxItems || size + item.size > maxSize)) break;
      size += item.size;
      count++;
    }
    const taken = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    return taken;
  }

  #mayGoOneByOne(error: unknown): boolean {
    return faultOf(error) === 'refused' && !(error instanceof ConnectionError) && !this.#options.notOneByOne?.(error);
  }

  async #send(items: BatchItem<T, R>[]): Promise<void> {
    this.#underWay++;
    try {
      const results = await this.#flush(items.map((item) => item.value));
      items.forEach((item, i) => {
        item.resolve(results[i] as R);
      });
    } catch (error) {
      // One value that the server refuses must not take the others with it.
      if (items.length > 1 && this.#mayGoOneByOne(error)) {
        for (const item of items) {
          await this.#flush([item.value]).then(([result]) => item.resolve(result as R), item.reject);
        }
      } else {
        for (const item of items) item.reject(error);
      }
    } finally {
      this.#underWay--;
      if (this.#queue.length > 0) this.#schedule();
      else if (this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }
}

import type { StoreEvent } from '../../model/event.js';

const CAPACITY = 1_000;
/** Larger results, in characters of JSON, are not kept. */
const MAX_RESULT_LENGTH = 4_096;

/**
 * The final events of the jobs that ended last. A job that was removed with its end has no row to read, and its event
 * may have come before anybody waited for it.
 */
export class RecentEnds {
  readonly #events = new Map<string, StoreEvent>();

  note(key: string, event: StoreEvent): void {
    if (event.type !== 'job:completed' && event.type !== 'job:failed') return;
    if (event.type === 'job:completed' && event.partial) return;
    if ((JSON.stringify(event.data)?.length ?? 0) > MAX_RESULT_LENGTH) return;
    this.#events.delete(key);
    this.#events.set(key, event);
    if (this.#events.size > CAPACITY) this.#events.delete(this.#events.keys().next().value as string);
  }

  get(key: string): StoreEvent | undefined {
    return this.#events.get(key);
  }

  clear(): void {
    this.#events.clear();
  }
}

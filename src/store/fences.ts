/** What this store knows of a job it handed out. */
export interface Known {
  readonly lease: number;
  /** It was handed out as stalled: what follows may change it only while it still is. */
  readonly stalled: boolean;
}

/** More jobs than one process has in its hands; the oldest are forgotten first. */
const CAPACITY = 100_000;

/**
 * The leases a store instance handed out through `StoreInterface`, whose later calls name a job by its id only: with
 * this memory they are fenced all the same.
 */
export class Fences {
  readonly #known = new Map<string, Known>();

  claimed(queueName: string, id: string, lease: number): void {
    this.#set(queueName, id, { lease, stalled: false });
  }

  stalled(queueName: string, id: string, lease: number): void {
    this.#set(queueName, id, { lease, stalled: true });
  }

  get(queueName: string, id: string): Known | undefined {
    return this.#known.get(key(queueName, id));
  }

  forget(queueName: string, id: string): void {
    this.#known.delete(key(queueName, id));
  }

  clear(): void {
    this.#known.clear();
  }

  #set(queueName: string, id: string, known: Known): void {
    const k = key(queueName, id);
    // Deleted first, so that a job claimed again counts as the newest.
    this.#known.delete(k);
    this.#known.set(k, known);
    if (this.#known.size > CAPACITY) this.#known.delete(this.#known.keys().next().value as string);
  }
}

const key = (queueName: string, id: string) => `${queueName}\n${id}`;

/** What this store knows of a job it handed out. */
export interface KnownLeases {
  /** Handed out to a worker under this lease: what follows may change the job only while that lease holds. */
  readonly claimed: number | undefined;
  /** Listed as stalled under this lease a moment ago: what follows may change it only while it still is. */
  readonly stalled: number | undefined;
}

/** More jobs than one process has in its hands; the oldest are forgotten first. */
const CAPACITY = 100_000;
/** Ended jobs are remembered only for the call or two that come right behind. */
const ENDED_CAPACITY = 1_000;
/** A caller that lists stalled jobs handles them at once. Later calls by id come from others, and must not be ignored. */
const STALLED_MS = 60_000;

interface Entry {
  claimed: number | undefined;
  stalled: number | undefined;
  stalledUntil: number;
}

/**
 * The leases a store instance handed out through `StoreInterface`, whose later calls name a job by its id only: with
 * this memory they are fenced all the same. (Two workers of one store that hold the same job one after the other
 * cannot be told apart this way: the newer lease counts.)
 */
export class LeaseMemory {
  readonly #known = new Map<string, Entry>();
  readonly #ended = new Map<string, number>();

  claimed(queueName: string, id: string, lease: number): void {
    const k = key(queueName, id);
    this.#ended.delete(k);
    put(this.#known, k, { claimed: lease, stalled: undefined, stalledUntil: 0 }, CAPACITY);
  }

  stalled(queueName: string, id: string, lease: number): void {
    const k = key(queueName, id);
    const claimed = this.#known.get(k)?.claimed;
    put(this.#known, k, { claimed, stalled: lease, stalledUntil: performance.now() + STALLED_MS }, CAPACITY);
  }

  get(queueName: string, id: string): KnownLeases {
    const entry = this.#known.get(key(queueName, id));
    if (!entry) return { claimed: undefined, stalled: undefined };
    const { claimed, stalled, stalledUntil } = entry;
    return { claimed, stalled: stalledUntil > performance.now() ? stalled : undefined };
  }

  /** The lease under which the job ended just now through this store. */
  ended(queueName: string, id: string): number | undefined {
    return this.#ended.get(key(queueName, id));
  }

  /**
   * The job is active no more, by a call through this store. Of a job that was both this store's own and listed as
   * stalled, two calls may come: by the sweeper, which makes it waiting, and by its slow worker, which does not. The
   * one that comes second still must find its fence.
   */
  left(queueName: string, id: string, state: string): void {
    const k = key(queueName, id);
    const { claimed, stalled } = this.get(queueName, id);
    const entry = this.#known.get(k);
    if (entry && claimed !== undefined && stalled !== undefined) {
      if (state === 'waiting') entry.stalled = undefined;
      else entry.claimed = undefined;
    } else {
      this.#known.delete(k);
    }
    if (claimed !== undefined) put(this.#ended, k, claimed, ENDED_CAPACITY);
  }

  forget(queueName: string, id: string): void {
    const k = key(queueName, id);
    this.#known.delete(k);
    this.#ended.delete(k);
  }

  clear(): void {
    this.#known.clear();
    this.#ended.clear();
  }
}

/** As the newest; over the capacity the oldest goes. */
function put<T>(map: Map<string, T>, k: string, value: T, capacity: number): void {
  map.delete(k);
  map.set(k, value);
  if (map.size > capacity) map.delete(map.keys().next().value as string);
}

const key = (queueName: string, id: string) => `${queueName}\n${id}`;

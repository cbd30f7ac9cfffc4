/** A worker, as far as others of its process concern it. */
export interface Isolated {
  /** Jobs may start that could not before. */
  resume(): void;
}

/**
 * What runs in this process, over all workers of all stores. When the process dies, any job in it may be the cause; so
 * a job that must be alone is alone among all of them.
 */
export class Isolation {
  readonly #workers = new Set<Isolated>();
  #running = 0;
  /** The worker whose job waits to be alone, or is. */
  #owner: Isolated | undefined;

  join(worker: Isolated): void {
    this.#workers.add(worker);
  }

  /** @param running calls of its handler that it does not wait for any more */
  leave(worker: Isolated, running: number): void {
    if (!this.#workers.delete(worker)) return;
    this.release(worker);
    this.ended(running);
  }

  /** There is no other worker. */
  get single(): boolean {
    return this.#workers.size <= 1;
  }

  get idle(): boolean {
    return this.#running === 0;
  }

  mayStart(worker: Isolated): boolean {
    return this.#owner === undefined || this.#owner === worker;
  }

  /** From now on no other worker starts jobs. False: another worker has done this before. */
  reserve(worker: Isolated): boolean {
    this.#owner ??= worker;
    return this.#owner === worker;
  }

  release(worker: Isolated): void {
    if (this.#owner !== worker) return;
    this.#owner = undefined;
    for (const other of [...this.#workers]) if (other !== worker) other.resume();
  }

  begun(): void {
    this.#running++;
  }

  ended(count = 1): void {
    if (count === 0) return;
    this.#running -= count;
    if (this.#running === 0) this.#owner?.resume();
  }
}

/** That of this process. */
export const isolation = new Isolation();

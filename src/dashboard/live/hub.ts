import type { Engine } from '../../store/runtime/engine.js';
import { readQueueNames } from '../queries/overview.js';

/** How often queues are looked for that are new, in ms. */
const NEW_QUEUES = 15_000;
/** How often it is checked whether notifications arrive, in ms: without a statement. */
const CHECK = 1_000;

/** Called with the queue in which something has happened; with null when notifications begin or cease to arrive. */
export type Listener = (queueName: string | null) => void;

/** The events of all queues, for as long as somebody looks at a page. */
export class LiveHub {
  readonly #engine: Engine;
  readonly #listeners = new Set<Listener>();
  readonly #closers = new Set<() => void>();
  readonly #subscribed = new Map<string, () => void>();
  #timer: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;
  #onClose: (() => void) | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get listens(): boolean {
    return this.#engine.listening;
  }

  /**
   * @param closed called when the store is disconnected: no more events will come
   * @returns what ends it
   */
  add(listener: Listener, closed: () => void): () => void {
    this.#listeners.add(listener);
    this.#closers.add(closed);
    if (this.#timer === undefined) this.#start();
    return () => {
      this.#listeners.delete(listener);
      this.#closers.delete(closed);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  #start(): void {
    this.#timer = setInterval(() => void this.#subscribe(), NEW_QUEUES);
    this.#timer.unref?.();
    let listened = this.listens;
    this.#check = setInterval(() => {
      if (listened === this.listens) return;
      listened = this.listens;
      this.#tell(null);
    }, CHECK);
    this.#check.unref?.();
    this.#onClose = this.#engine.onClose(() => {
      for (const closed of [...this.#closers]) closed();
    });
    void this.#subscribe();
  }

  #stop(): void {
    clearInterval(this.#timer);
    clearInterval(this.#check);
    this.#timer = undefined;
    this.#onClose?.();
    for (const unsubscribe of this.#subscribed.values()) unsubscribe();
    this.#subscribed.clear();
  }

  async #subscribe(): Promise<void> {
    try {
      for (const name of await readQueueNames(this.#engine.executor)) this.#follow(name);
    } catch {
      // The next time, if the database is back by then; pages say that it is away.
    }
  }

  #follow(name: string): void {
    if (this.#timer === undefined || this.#subscribed.has(name)) return;
    this.#subscribed.set(
      name,
      this.#engine.notifier.on(name, () => this.#tell(name)),
    );
  }

  #tell(name: string | null): void {
    for (const listener of this.#listeners) listener(name);
  }
}

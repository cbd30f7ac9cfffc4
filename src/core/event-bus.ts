import { defaultLogger, type Logger, safely } from '../model/logger.js';
import { show } from '../model/text.js';
import { watched } from '../model/watched.js';

type Handler = (payload: never) => void;

/** Events of one queue or worker, by name. `Events` maps each name to its payload. */
// biome-ignore lint/suspicious/noExplicitAny: an untyped bus has payloads of any type
export class EventBus<Events extends object = Record<string, any>> {
  readonly #handlers = new Map<PropertyKey, Set<Handler>>();
  readonly #logger: Logger;

  /** @param logger receives the errors that have no listener. Default: warnings and errors to the console. */
  constructor(logger: Logger = defaultLogger) {
    // A logger that throws must not interrupt the code that emits.
    this.#logger = safely(logger);
  }

  on<K extends keyof Events>(event: K, handler: (payload: Events[K]) => void): this {
    if (typeof handler !== 'function') throw new TypeError(`on(${show(event)}) needs a function.`);
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(handler as Handler));
    return this;
  }

  off<K extends keyof Events>(event: K, handler: (payload: Events[K]) => void): this {
    const handlers = this.#handlers.get(event);
    if (handlers?.delete(handler as Handler) && handlers.size === 0) this.#handlers.delete(event);
    return this;
  }

  /** Whether the event has a listener. */
  has(event: keyof Events): boolean {
    return this.#handlers.has(event);
  }

  /**
   * Calls the handlers in the order they were added. The error of one that throws or rejects becomes an `error` event,
   * and the others are called. An `error` without a listener goes to the logger, and so does one that an error handler
   * throws.
   */
  emit<K extends keyof Events>(event: K, payload: Events[K]): void {
    const handlers = this.#handlers.get(event);
    if (!handlers) {
      if (event === 'error') this.#logger.error('conveyor: an error without an "error" listener:', payload);
      return;
    }
    for (const handler of [...handlers]) {
      watched(
        () => (handler as (payload: Events[K]) => unknown)(payload),
        (error) => this.#failed(event, error),
      );
    }
  }

  removeAllListeners(event?: keyof Events): this {
    if (event === undefined) this.#handlers.clear();
    else this.#handlers.delete(event);
    return this;
  }

  #failed(event: keyof Events, error: unknown): void {
    if (event === 'error') this.#logger.error('conveyor: an "error" handler threw:', error);
    else this.emit('error' as keyof Events, error as Events[keyof Events]);
  }
}

import type postgres from 'postgres';
import type { Logger } from '../model/logger.js';
import { type ConnectionOptions, closeClient, openPool } from './connect.js';

/**
 * The pool that a store opens for itself. When a connection is half-open (a failover, a dropped NAT entry), the driver
 * goes on queuing onto it until the kernel gives up, a quarter of an hour later: so a pool that leaves a statement
 * without any answer is replaced by a new one.
 */
export class OwnPool {
  readonly #connection: ConnectionOptions;
  readonly #timeout: number;
  readonly #logger: Logger;
  #client: postgres.Sql;
  #replacing = false;
  #closed = false;

  private constructor(client: postgres.Sql, connection: ConnectionOptions, timeout: number, logger: Logger) {
    this.#client = client;
    this.#connection = connection;
    this.#timeout = timeout;
    this.#logger = logger;
  }

  static async open(connection: ConnectionOptions, timeout: number, logger: Logger): Promise<OwnPool> {
    return new OwnPool(await openPool(connection, timeout), connection, timeout, logger);
  }

  get client(): postgres.Sql {
    return this.#client;
  }

  /** A statement on this client was not even refused. What else is in flight there fails, and is sent again if it may. */
  async replace(silent: postgres.Sql): Promise<void> {
    if (silent !== this.#client || this.#replacing || this.#closed) return;
    this.#replacing = true;
    try {
      const next = await openPool(this.#connection, this.#timeout);
      if (this.#closed) {
        await closeClient(next, 0);
        return;
      }
      this.#client = next;
      this.#logger.warn('conveyor: the connections left a statement without an answer and were replaced');
      await closeClient(silent, 0);
    } catch {
      // Not reachable at all: the next statement without an answer tries again.
    } finally {
      this.#replacing = false;
    }
  }

  async close(graceSeconds: number): Promise<void> {
    this.#closed = true;
    await closeClient(this.#client, graceSeconds);
  }
}

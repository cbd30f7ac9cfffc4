import type postgres from 'postgres';
import type { Logger } from '../model/logger.js';
import { type ConnectionOptions, closeClient, openPool } from './connect.js';

/**
 * The pool that a store opens for itself. On a half-open connection (after a failover, or a dropped NAT entry) the
 * driver queues statements until the kernel reports the loss, about 15 minutes later. A pool that leaves a statement
 * without an answer is therefore replaced.
 */
export class Pool {
  readonly #connection: ConnectionOptions;
  readonly #statementTimeout: number;
  readonly #logger: Logger;
  #client: postgres.Sql;
  #replacing = false;
  #closed = false;

  private constructor(client: postgres.Sql, connection: ConnectionOptions, statementTimeout: number, logger: Logger) {
    this.#client = client;
    this.#connection = connection;
    this.#statementTimeout = statementTimeout;
    this.#logger = logger;
  }

  /** @throws ConnectionError when the server cannot be reached */
  static async open(connection: ConnectionOptions, statementTimeout: number, logger: Logger): Promise<Pool> {
    return new Pool(await openPool(connection, statementTimeout), connection, statementTimeout, logger);
  }

  get client(): postgres.Sql {
    return this.#client;
  }

  /**
   * Replaces a client that left a statement without an answer. What else is in flight on it fails, and is sent again
   * where that is safe. Never rejects.
   */
  async replace(unresponsive: postgres.Sql): Promise<void> {
    if (unresponsive !== this.#client || this.#replacing || this.#closed) return;
    this.#replacing = true;
    try {
      const next = await openPool(this.#connection, this.#statementTimeout);
      if (this.#closed) {
        await closeClient(next, 0);
        return;
      }
      this.#client = next;
      this.#logger.warn('conveyor: replaced the connection pool: a statement got no answer');
      await closeClient(unresponsive, 0);
    } catch {
      // The server cannot be reached at all: the next statement without an answer tries again.
    } finally {
      this.#replacing = false;
    }
  }

  async close(graceSeconds: number): Promise<void> {
    this.#closed = true;
    await closeClient(this.#client, graceSeconds);
  }
}

import type postgres from 'postgres';
import type { Logger } from '../model/logger.js';
import { type ConnectionOptions, closeClient, openPool } from './connect.js';

/** Between two replacements. */
const REPLACE_PAUSE_MS = 1_000;

/**
 * The pool that a store opens for itself. On a half-open connection (after a failover, or a dropped NAT entry) the
 * driver queues statements until the kernel reports the loss, about 15 minutes later; sessions on a server that has
 * become read-only stay read-only. A pool that leaves a statement without an answer, or gets an error that condemns
 * its connections, is therefore replaced.
 */
export class Pool {
  readonly #connection: ConnectionOptions;
  readonly #statementTimeout: number;
  readonly #logger: Logger;
  #client: postgres.Sql;
  #replacing = false;
  #replacedAt = Number.NEGATIVE_INFINITY;
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
   * Replaces a client of no more use. What else is in flight on it has `graceSeconds` to end, then fails, and is sent
   * again where that is safe. Never rejects.
   *
   * @returns whether it was replaced
   */
  async replace(unusable: postgres.Sql, reason: string, graceSeconds = 0): Promise<boolean> {
    if (unusable !== this.#client || this.#replacing || this.#closed) return false;
    // A new pool may be no better: the whole server is read-only, say. Then it is not replaced for every statement.
    if (performance.now() - this.#replacedAt < REPLACE_PAUSE_MS) return false;
    this.#replacing = true;
    try {
      const next = await openPool(this.#connection, this.#statementTimeout);
      if (this.#closed) {
        await closeClient(next, 0);
        return false;
      }
      this.#client = next;
      this.#replacedAt = performance.now();
      this.#logger.warn(`conveyor: replaced the connection pool: ${reason}`);
      void closeClient(unusable, graceSeconds);
      return true;
    } catch {
      // The server cannot be reached at all: the next statement that fails so tries again.
      return false;
    } finally {
      this.#replacing = false;
    }
  }

  async close(graceSeconds: number): Promise<void> {
    this.#closed = true;
    await closeClient(this.#client, graceSeconds);
  }
}

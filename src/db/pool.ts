import type postgres from 'postgres';
import type { Logger } from '../model/logger.js';
import { type ConnectionOptions, closeClient, openPool } from './connect.js';

/** Between two replacements because of a code. */
const REPLACE_PAUSE_MS = 1_000;
/** For the first connection of a new pool, in ms: doubling from one that fails to the next. */
const MIN_PATIENCE_MS = 1_000;
const MAX_PATIENCE_MS = 16_000;

export interface ReplaceOptions {
  readonly graceSeconds?: number;
  readonly atOnce?: boolean;
}

/**
 * The pool that a store opens for itself. On a half-open connection (after a failover, or a dropped NAT entry) the
 * driver queues statements until the kernel reports the loss, about 15 minutes later; sessions on a server that has
 * become read-only stay read-only; a lost one may not be made anew (`Unsent`). A pool that leaves a statement without an
 * answer, or gets an error that condemns its connections, is therefore replaced.
 */
export class Pool {
  readonly #connection: ConnectionOptions;
  readonly #statementTimeout: number;
  readonly #logger: Logger;
  #client: postgres.Sql;
  #replacing = false;
  #replacedAt = Number.NEGATIVE_INFINITY;
  #patience = MIN_PATIENCE_MS;
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
   * Replaces a client of no more use. Never rejects.
   *
   * @param options.graceSeconds for what else is in flight on it; then it fails, and is sent again where that is safe
   * @param options.atOnce even if it is new. Default false: a new one may be no better, when the whole server is
   * read-only, say, and is not to be replaced for every statement
   * @returns whether it was replaced
   */
  async replace(unusable: postgres.Sql, reason: string, options: ReplaceOptions = {}): Promise<boolean> {
    const { graceSeconds = 0, atOnce = false } = options;
    if (unusable !== this.#client || this.#replacing || this.#closed) return false;
    if (!atOnce && performance.now() - this.#replacedAt < REPLACE_PAUSE_MS) return false;
    this.#replacing = true;
    try {
      const next = await openPool(this.#connection, this.#statementTimeout, this.#patience);
      this.#patience = MIN_PATIENCE_MS;
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
      this.#patience = Math.min(this.#patience * 2, MAX_PATIENCE_MS);
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

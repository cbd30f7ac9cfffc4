import type postgres from 'postgres';

/** A statement is sent within microseconds; longer than this it waits for a connection, in ms. */
const PATIENCE_MS = 250;
/** Until it is looked at again whether the client was replaced. */
const RECHECK_MS = 50;

/** The code of a statement that was taken back. */
export const NOT_SENT = 'NOT_SENT';

interface Waiting {
  readonly client: postgres.Sql;
  readonly pending: postgres.PendingQuery<postgres.Row[]>;
  readonly began: number;
  takenBack: boolean;
}

export interface UnsentOptions {
  /** The client to send on at present. */
  client(): postgres.Sql;
  /** Its statements wait for a connection that is not made: it should be replaced. */
  stuck(client: postgres.Sql): void;
}

/**
 * Statements that wait for a connection. When one is lost while postgres.js has something to write to it, the driver
 * keeps that for the next connection, on which it then writes nothing at all: until `connect_timeout` (10 s) whoever
 * waits for that connection waits in vain. So once a client has lost a connection, it is replaced when a statement is
 * not sent soon; what it has not sent is taken back, and fails with the code NOT_SENT.
 */
export class Unsent {
  readonly #options: UnsentOptions;
  readonly #waiting = new Set<Waiting>();
  /** Clients that have lost a connection. */
  readonly #suspects = new WeakSet<postgres.Sql>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: UnsentOptions) {
    this.#options = options;
  }

  /** The answer to a statement. */
  async watch<T>(client: postgres.Sql, pending: Waiting['pending'], answer: Promise<T>): Promise<T> {
    const waiting: Waiting = { client, pending, began: performance.now(), takenBack: false };
    this.#waiting.add(waiting);
    if (this.#suspects.has(client)) this.#arm();
    try {
      return await answer;
    } catch (error) {
      if (!waiting.takenBack) throw error;
      throw Object.assign(new Error('a lost connection was not made anew', { cause: error }), { code: NOT_SENT });
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** The client has lost a connection. */
  lost(client: postgres.Sql): void {
    this.#suspects.add(client);
    if (this.#waiting.size > 0) this.#arm();
  }

  #arm(ms = PATIENCE_MS): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#check();
    }, ms);
    this.#timer.unref();
  }

  #check(): void {
    const current = this.#options.client();
    const unsent = [...this.#waiting].filter(({ pending }) => isUnsent(pending));
    for (const waiting of unsent) if (waiting.client !== current) takeBack(waiting);
    const latest = performance.now() - PATIENCE_MS;
    if (unsent.some(({ client, began }) => client === current && began <= latest)) this.#options.stuck(current);
    if (unsent.length > 0) this.#arm(RECHECK_MS);
  }
}

/** The driver sets `state` when it writes a statement to a connection; with another version nothing is taken back. */
const isUnsent = (pending: Waiting['pending']) => (pending as { state?: unknown }).state === null;

/** What is not sent yet is only removed from the client's queue. */
function takeBack(waiting: Waiting): void {
  waiting.takenBack = true;
  waiting.pending.cancel();
}

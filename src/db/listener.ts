import type postgres from 'postgres';
import type { Logger } from '../model/logger.js';
import { type ConnectionOptions, closeClient, openSingle } from './connect.js';
import { quoteIdentifier } from './tables.js';

/** Together under 15 s: a connection that stopped answering is noticed in that time. */
export const HEARTBEAT_MS = 10_000;
const HEARTBEAT_LIMIT_MS = 4_000;
const RECONNECT_MS = [30, 100, 300, 1_000, 3_000, 5_000];

export interface ListenerHooks {
  onNotification(channel: string, payload: string): void;
  /** The connection is up again after a loss: whatever was notified meanwhile is gone, so look at the tables. */
  onReconnect(): void;
  /** The heartbeat's statement; it runs on the listening connection, so that it proves that one alive. */
  heartbeat(client: postgres.Sql): Promise<unknown>;
  logger: Logger;
}

/**
 * One connection that listens on any number of channels, and comes back after a loss.
 *
 * postgres.js has `listen()`, but no way to run a heartbeat on its connection, and a half-open connection is noticed
 * by nothing else. So this keeps a client of its own with a single connection and takes its notifications.
 */
export class Listener {
  readonly #connection: ConnectionOptions;
  readonly #hooks: ListenerHooks;
  readonly #channels = new Set<string>();
  #client: postgres.Sql | undefined;
  #generation = 0;
  #closed = false;
  #connected = false;
  #failures = 0;
  #heartbeat: NodeJS.Timeout | undefined;
  #reconnect: NodeJS.Timeout | undefined;

  constructor(connection: ConnectionOptions, hooks: ListenerHooks) {
    this.#connection = connection;
    this.#hooks = hooks;
  }

  /** Whether notifications arrive right now. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Opens the connection; rejects when the server cannot be reached. */
  async start(): Promise<void> {
    await this.#open();
  }

  /** Effective at once when connected, else with the next connection. Never rejects: a failure means a reconnect. False when it was so already. */
  async listen(channel: string): Promise<boolean> {
    if (this.#channels.has(channel)) return false;
    this.#channels.add(channel);
    await this.#send(`listen ${quoteIdentifier(channel)}`);
    return true;
  }

  async unlisten(channel: string): Promise<void> {
    if (!this.#channels.delete(channel)) return;
    await this.#send(`unlisten ${quoteIdentifier(channel)}`);
  }

  /** Closes for good; nothing is delivered afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#connected = false;
    this.#generation++;
    clearTimeout(this.#heartbeat);
    clearTimeout(this.#reconnect);
    const client = this.#client;
    this.#client = undefined;
    if (client) await closeClient(client, 0);
  }

  async #open(): Promise<void> {
    const generation = ++this.#generation;
    const current = () => generation === this.#generation && !this.#closed;
    // `onnotify` is what postgres.js itself passes to its listening connection; its types do not name it.
    const hooks = {
      onnotify: (channel: string, payload: string) => {
        if (current() && this.#channels.has(channel)) this.#hooks.onNotification(channel, payload);
      },
      onclose: () => {
        if (current()) this.#lost('the connection was closed');
      },
    };
    let client: postgres.Sql | undefined;
    try {
      client = await openSingle(this.#connection, hooks as object);
      if (!current()) throw new Error('superseded');
      const channels = [...this.#channels];
      // One round trip for all of them: a reconnect must not take longer with every queue.
      if (channels.length > 0) await client.unsafe(channels.map((c) => `listen ${quoteIdentifier(c)}`).join('; '));
      if (!current()) throw new Error('superseded');
      this.#client = client;
      for (const added of this.#channels) {
        if (!channels.includes(added)) await client.unsafe(`listen ${quoteIdentifier(added)}`);
      }
    } catch (error) {
      if (client) await closeClient(client, 0);
      throw error;
    }
    this.#connected = true;
    this.#failures = 0;
    this.#scheduleHeartbeat();
  }

  async #send(text: string): Promise<void> {
    const client = this.#client;
    if (!client || !this.#connected) return;
    await client.unsafe(text).catch((error) => {
      if (client === this.#client) this.#lost(String((error as Error).message));
    });
  }

  #scheduleHeartbeat(): void {
    const generation = this.#generation;
    this.#heartbeat = setTimeout(() => void this.#beat(generation), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  async #beat(generation: number): Promise<void> {
    const client = this.#client;
    if (!client) return;
    let limit: NodeJS.Timeout | undefined;
    try {
      await Promise.race([
        this.#hooks.heartbeat(client),
        new Promise((_, reject) => {
          limit = setTimeout(() => reject(new Error('no answer to the heartbeat')), HEARTBEAT_LIMIT_MS);
          limit.unref();
        }),
      ]);
      if (generation === this.#generation) this.#scheduleHeartbeat();
    } catch (error) {
      if (generation === this.#generation) this.#lost(String((error as Error).message));
    } finally {
      clearTimeout(limit);
    }
  }

  #lost(why: string): void {
    if (this.#closed) return;
    this.#generation++;
    this.#connected = false;
    clearTimeout(this.#heartbeat);
    const client = this.#client;
    this.#client = undefined;
    if (client) void closeClient(client, 0);
    this.#hooks.logger.warn(`conveyor: the LISTEN connection was lost (${why}); reconnecting`);
    this.#retry();
  }

  #retry(): void {
    const delay = RECONNECT_MS[Math.min(this.#failures, RECONNECT_MS.length - 1)] ?? 0;
    this.#failures++;
    clearTimeout(this.#reconnect);
    this.#reconnect = setTimeout(
      () => {
        this.#open().then(
          () => this.#hooks.onReconnect(),
          (error) => {
            if (this.#closed) return;
            if (this.#failures % 10 === 1) {
              this.#hooks.logger.warn(`conveyor: cannot listen yet: ${(error as Error).message}`);
            }
            this.#retry();
          },
        );
      },
      // Not unref'd, as the connection it stands in for: while the database is away a process must not end by itself.
      delay * (0.5 + Math.random() / 2),
    );
  }
}

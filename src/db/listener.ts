import type postgres from 'postgres';
import { ConnectionError } from '../model/errors.js';
import type { Logger } from '../model/logger.js';
import { type ConnectionOptions, closeClient, openSingle } from './connect.js';
import { withDeadline } from './deadline.js';
import { script } from './postgres-js.js';
import { quoteIdentifier } from './tables.js';

/** By default, a connection that no longer answers is noticed within the sum of the two: less than 15 s. */
export const HEARTBEAT_MS = 10_000;
const HEARTBEAT_TIMEOUT_MS = 4_000;
/** Before each attempt to reconnect, with jitter; the last one repeats. */
const RECONNECT_DELAYS_MS = [30, 100, 300, 1_000, 3_000, 5_000];
/** Of the attempts that fail, every so many are logged. */
const LOGGED_FAILURES = 10;

export interface ListenerHooks {
  onNotification(channel: string, payload: string): void;
  /** The connection is back after a loss. Notifications of the time between are lost: read the tables instead. */
  onReconnect(): void;
  /** Runs a statement on the listening connection, which proves that it is alive. */
  heartbeat(client: postgres.Sql): PromiseLike<unknown>;
  /** ms between heartbeats; Infinity: none. Default: `HEARTBEAT_MS`. */
  interval?: number;
  logger: Logger;
  /** Opens the one connection. Default: `openSingle`. */
  open?: typeof openSingle;
}

/** What postgres.js calls on its own LISTEN connection; its types leave `onnotify` out. */
export interface ConnectionEvents {
  onnotify(channel: string, payload: string): void;
  onclose(): void;
}

/**
 * One connection that listens on any number of channels, and is opened again after a loss.
 *
 * postgres.js has `listen()`, but runs no heartbeat on that connection, and nothing else detects a half-open one. So
 * this opens a client with a single connection and receives its notifications.
 */
export class Listener {
  readonly #connection: ConnectionOptions;
  readonly #hooks: ListenerHooks;
  readonly #channels = new Set<string>();
  #client: postgres.Sql | undefined;
  /** Of the current connection: what belongs to an earlier one is ignored. */
  #generation = 0;
  #closed = false;
  #connected = false;
  #failures = 0;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;

  constructor(connection: ConnectionOptions, hooks: ListenerHooks) {
    this.#connection = connection;
    this.#hooks = hooks;
  }

  /** Whether notifications arrive at present. */
  get connected(): boolean {
    return this.#connected;
  }

  /** @throws ConnectionError when the server cannot be reached */
  async start(): Promise<void> {
    await this.#open();
  }

  /**
   * Takes effect at once when connected, else with the next connection. Never rejects: a failure leads to a new
   * connection. Resolves to false when the channel was listened to already.
   */
  async listen(channel: string): Promise<boolean> {
    if (this.#channels.has(channel)) return false;
    this.#channels.add(channel);
    await this.#send(listenText(channel));
    return true;
  }

  async unlisten(channel: string): Promise<void> {
    if (!this.#channels.delete(channel)) return;
    await this.#send(`un${listenText(channel)}`);
  }

  /** Opens a new connection in place of the present one. */
  reconnect(reason: string): void {
    if (this.#connected) this.#lost(reason);
  }

  /** Closes for good; nothing is delivered afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#connected = false;
    this.#generation++;
    clearTimeout(this.#heartbeatTimer);
    clearTimeout(this.#reconnectTimer);
    const client = this.#client;
    this.#client = undefined;
    if (client) await closeClient(client, 0);
  }

  async #open(): Promise<void> {
    const generation = ++this.#generation;
    const isCurrent = () => generation === this.#generation && !this.#closed;
    const assertCurrent = () => {
      if (!isCurrent()) throw new ConnectionError('The LISTEN connection was closed or lost while it was opened.');
    };
    const events: ConnectionEvents = {
      onnotify: (channel, payload) => {
        if (isCurrent() && this.#channels.has(channel)) this.#hooks.onNotification(channel, payload);
      },
      onclose: () => {
        // While it is being opened, the statement under way fails instead.
        if (isCurrent() && this.#client) this.#lost('the connection was closed');
      },
    };
    let client: postgres.Sql | undefined;
    try {
      client = await (this.#hooks.open ?? openSingle)(this.#connection, events as object);
      assertCurrent();
      const channels = [...this.#channels];
      // One round trip for all of them: a reconnect must not take longer with every queue.
      if (channels.length > 0) await script(client, channels.map(listenText).join('; '));
      assertCurrent();
      this.#client = client;
      for (const added of this.#channels) {
        if (!channels.includes(added)) await script(client, listenText(added));
      }
      assertCurrent();
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
    await script(client, text).catch((error) => {
      if (client === this.#client) this.#lost(String((error as Error).message));
    });
  }

  #scheduleHeartbeat(): void {
    const { interval = HEARTBEAT_MS } = this.#hooks;
    if (interval === Number.POSITIVE_INFINITY) return;
    const generation = this.#generation;
    this.#heartbeatTimer = setTimeout(() => void this.#beat(generation), interval);
    this.#heartbeatTimer.unref();
  }

  async #beat(generation: number): Promise<void> {
    const client = this.#client;
    if (!client) return;
    try {
      await withDeadline(
        this.#hooks.heartbeat(client),
        HEARTBEAT_TIMEOUT_MS,
        () => new ConnectionError('no answer to the heartbeat'),
      );
      if (generation === this.#generation) this.#scheduleHeartbeat();
    } catch (error) {
      if (generation === this.#generation) this.#lost(String((error as Error).message));
    }
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    this.#generation++;
    this.#connected = false;
    clearTimeout(this.#heartbeatTimer);
    const client = this.#client;
    this.#client = undefined;
    if (client) void closeClient(client, 0);
    this.#hooks.logger.warn(`conveyor: the LISTEN connection was lost (${reason}); reconnecting`);
    this.#scheduleReconnect();
  }

  #scheduleReconnect(): void {
    const delay = RECONNECT_DELAYS_MS[Math.min(this.#failures, RECONNECT_DELAYS_MS.length - 1)] as number;
    this.#failures++;
    clearTimeout(this.#reconnectTimer);
    // Not unref'd, like the connection it stands for: while the database is away the process must not end.
    this.#reconnectTimer = setTimeout(() => void this.#reconnect(), delay * (0.5 + Math.random() / 2));
  }

  async #reconnect(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      if (this.#closed) return;
      if (this.#failures % LOGGED_FAILURES === 1) {
        this.#hooks.logger.warn(`conveyor: cannot reconnect to LISTEN yet: ${(error as Error).message}`);
      }
      this.#scheduleReconnect();
      return;
    }
    this.#hooks.onReconnect();
  }
}

const listenText = (channel: string): string => `listen ${quoteIdentifier(channel)}`;

import type { ConnectionOptions } from '../../db/connect.js';
import { settledWithin } from '../../db/deadline.js';
import { DrizzleExecutor } from '../../db/drizzle-executor.js';
import type { DrizzleLike, DrizzleTransactor } from '../../db/drizzle-like.js';
import type { Executor } from '../../db/executor.js';
import { Listener } from '../../db/listener.js';
import { Pool } from '../../db/pool.js';
import { connectionOf, postgresJsClient } from '../../db/postgres-js.js';
import { NO_ANSWER, PreparedExecutor, STUCK } from '../../db/prepared-executor.js';
import { tablesIn } from '../../db/tables.js';
import { migrateConnection, migrateDrizzle } from '../../migrations/migrator.js';
import { verifyRole } from '../../migrations/role-check.js';
import { isUpToDate, verifySchema } from '../../migrations/verify.js';
import { ClosedError, ConveyorError } from '../../model/errors.js';
import { NotificationCheck } from './notification-check.js';
import type { ResolvedOptions } from './options.js';

/** How long closing waits for statements under way, and then again for the pool. */
const CLOSE_LIMIT_S = 2;
/** How long to wait for an answer after the server should have ended the statement itself. */
const ANSWER_GRACE_MS = 2_000;

export interface ConnectionHooks {
  /** The channels to listen on when the connection opens. */
  channels(): string[];
  onNotification(payload: string): void;
  /** LISTEN was interrupted: notifications may be lost. */
  onReconnect(): void;
  /** Runs a statement on the LISTEN connection. */
  heartbeat(executor: Executor): Promise<void>;
  /** Finishes what is under way, before the connections are closed. It is not waited for longer than 2 s. */
  beforeClose(): Promise<unknown>;
  afterClose(): void;
}

/**
 * Where a store's statements run: on a pool that it opens itself, or on the client of an app. Brings the tables up to
 * date when it opens, and listens for notifications on a connection of its own.
 */
export class Connection {
  readonly #options: ResolvedOptions;
  readonly #hooks: ConnectionHooks;
  readonly #tables;
  #executor: Executor | undefined;
  #pool: Pool | undefined;
  #listener: Listener | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  readonly #check = new NotificationCheck();
  /** Closed after it was opened, and not opened again. */
  #closed = false;
  #warnedReadOnly = false;
  readonly #reconnectCallbacks = new Set<() => void>();
  readonly #beforeCloseCallbacks = new Set<() => Promise<void>>();
  readonly #closeCallbacks = new Set<() => void>();
  readonly #connectedCallbacks = new Set<() => void>();

  constructor(options: ResolvedOptions, hooks: ConnectionHooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#tables = tablesIn(options.schema);
  }

  /** @throws ConveyorError `NOT_CONNECTED` before `open()`, ClosedError after `close()` */
  get executor(): Executor {
    if (!this.#executor) {
      if (this.#closed) throw new ClosedError('The store', ': it is not connected any more since disconnect()');
      throw new ConveyorError('The store is not connected: await store.connect() first.', { code: 'NOT_CONNECTED' });
    }
    return this.#executor;
  }

  get connected(): boolean {
    return this.#executor !== undefined;
  }

  /** Whether notifications arrive at present. */
  get listening(): boolean {
    return this.#check.heard && (this.#listener?.connected ?? false);
  }

  /** Runs statements inside a caller's transaction. */
  within(transaction: DrizzleLike): Executor {
    const { statementTimeout: timeout, onStatement } = this.#options;
    return new DrizzleExecutor(transaction, this.#tables, { inTransaction: true, timeout, onStatement });
  }

  /** Resolves to true when the channel is listened to as of now, and was not before. */
  async listen(channel: string): Promise<boolean> {
    return (await this.#listener?.listen(channel)) ?? false;
  }

  async unlisten(channel: string): Promise<void> {
    await this.#listener?.unlisten(channel);
  }

  /** Calls back after each interruption of LISTEN. Returns a function that cancels this, as do the next three. */
  onReconnect(callback: () => void): () => void {
    return register(this.#reconnectCallbacks, callback);
  }

  /**
   * Calls back each time the store is about to be disconnected, which waits for the promise. It must settle in bounded
   * time, and must not reject.
   */
  beforeClose(callback: () => Promise<void>): () => void {
    return register(this.#beforeCloseCallbacks, callback);
  }

  /** Calls back each time the store is disconnected. */
  onClose(callback: () => void): () => void {
    return register(this.#closeCallbacks, callback);
  }

  /** Calls back once, when the store is connected: after the current turn of the event loop if it is already. */
  whenConnected(callback: () => void): () => void {
    if (this.connected) queueMicrotask(() => this.#runConnectedCallbacks());
    return register(this.#connectedCallbacks, callback);
  }

  open(): Promise<void> {
    this.#opening ??= this.#open().catch(async (error) => {
      // Subscriptions made before stay in place for the next attempt.
      await this.#release();
      throw error;
    });
    return this.#opening;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close().finally(() => {
      this.#closing = undefined;
    });
    return this.#closing;
  }

  async #open(): Promise<void> {
    await this.#closing;
    const { connection, db } = this.#options;
    const executor = connection === undefined ? this.#adopt(db as DrizzleLike) : await this.#openPool(connection);
    const { schema, logger } = this.#options;
    // First, because without its privileges not even the record of migrations can be read.
    const verified = await verifyRole(executor, schema, logger);
    await this.#prepareTables(executor);
    if (!verified) await verifyRole(executor, schema, logger);
    await this.#startListener(executor);
    this.#executor = executor;
    this.#closed = false;
    queueMicrotask(() => this.#runConnectedCallbacks());
  }

  async #openPool(connection: ConnectionOptions): Promise<Executor> {
    const { statementTimeout, logger, onStatement } = this.#options;
    const pool = await Pool.open(connection, statementTimeout, logger);
    this.#pool = pool;
    return new PreparedExecutor(() => pool.client, this.#tables, {
      prepare: pool.client.options.prepare !== false,
      // The server ends a slow statement by itself: one that is still unanswered then is on a dead connection.
      timeout: statementTimeout + ANSWER_GRACE_MS,
      unusable: (client, reason) => void this.#replacePool(pool, client, reason),
      onStatement,
    });
  }

  async #replacePool(pool: Pool, client: Pool['client'], reason: string): Promise<void> {
    const condemned = reason !== NO_ANSWER && reason !== STUCK;
    const problem = condemned ? `its connections are of no more use (${reason})` : reason;
    const graceSeconds = reason === NO_ANSWER ? 0 : CLOSE_LIMIT_S;
    const replaced = await pool.replace(client, problem, { graceSeconds, atOnce: reason === STUCK });
    // It was opened with the others, so it may be on the wrong server, too.
    if (replaced && condemned) this.#listener?.reconnect(problem);
  }

  /** An app's database: prepared and pipelined on postgres.js, through `db.execute` on every other driver. */
  #adopt(db: DrizzleLike): Executor {
    const { statementTimeout: timeout, onStatement } = this.#options;
    const client = postgresJsClient(db);
    const unusable = (code: string) => this.#warnReadOnly(code);
    if (!client) return new DrizzleExecutor(db, this.#tables, { inTransaction: false, timeout, unusable, onStatement });
    return new PreparedExecutor(() => client, this.#tables, {
      prepare: client.options.prepare !== false,
      timeout,
      unusable: (_client, reason) => unusable(reason),
      onStatement,
    });
  }

  /** Drivers open lost connections again by themselves, but they keep a session that has become read-only. */
  #warnReadOnly(code: string): void {
    if (code !== '25006' || this.#warnedReadOnly) return;
    this.#warnedReadOnly = true;
    this.#options.logger.warn(
      'conveyor: the sessions of the client behind `db` are read-only (25006), most likely since a failover. End them, or ' +
        'restart the process: the store does not close connections that are not its own. To prevent it, set ' +
        '`target_session_attrs: "read-write"` on the client, or give the store a `connection`, which it replaces itself',
    );
  }

  async #prepareTables(executor: Executor): Promise<void> {
    const { schema, autoMigrate, db, logger } = this.#options;
    if (!autoMigrate) return verifySchema(executor, schema, logger.warn);
    if (await isUpToDate(executor, schema, logger.warn)) return;
    const direct = this.#directConnection();
    if (direct !== undefined) await migrateConnection(direct, schema);
    else await migrateDrizzle(db as DrizzleTransactor, schema);
  }

  async #startListener(executor: Executor): Promise<void> {
    const { listen, logger, heartbeatInterval } = this.#options;
    if (listen === false) return;
    const connection = typeof listen === 'string' ? listen : this.#directConnection();
    if (connection === undefined) {
      logger.warn(
        'conveyor: this Drizzle driver does not tell where it connects to, so the store cannot LISTEN and only polls. ' +
          'Set `listen: <connection URL>`, or `listen: false` if polling is intended',
      );
      return;
    }
    const listener = new Listener(connection, {
      logger,
      onNotification: (channel, payload) => {
        if (!this.#check.receive(channel)) this.#hooks.onNotification(payload);
      },
      onReconnect: () => {
        this.#check.reconnected();
        void this.#checkNotifications(executor, listener);
        this.#hooks.onReconnect();
        for (const callback of [...this.#reconnectCallbacks]) callback();
      },
      interval: heartbeatInterval,
      heartbeat: async (client) => {
        const { statementTimeout: timeout, onStatement } = this.#options;
        await this.#hooks.heartbeat(
          new PreparedExecutor(() => client, this.#tables, { prepare: false, timeout, onStatement }),
        );
        // It answers, but does it still receive notifications?
        if (this.#check.due(heartbeatInterval)) void this.#checkNotifications(executor, listener);
      },
    });
    for (const channel of this.#hooks.channels()) void listener.listen(channel);
    this.#listener = listener;
    this.#check.reconnected();
    await listener.start();
    void this.#checkNotifications(executor, listener);
  }

  async #checkNotifications(executor: Executor, listener: Listener): Promise<void> {
    const { logger } = this.#options;
    const changed = await this.#check.changed(executor, listener, logger, () => listener === this.#listener);
    // The next poll was scheduled for a store that listens.
    if (changed && !this.#check.heard) this.#hooks.onReconnect();
  }

  /** Options for a connection of our own; undefined for an app's driver other than postgres.js. */
  #directConnection(): ConnectionOptions | undefined {
    const { connection, db } = this.#options;
    if (connection !== undefined) return connection;
    const client = postgresJsClient(db as DrizzleLike);
    return client && connectionOf(client);
  }

  async #close(): Promise<void> {
    const opening = this.#opening;
    // A call of open() from here on starts anew, after this.
    this.#opening = undefined;
    await opening?.catch(() => {});
    if (this.connected) await Promise.all([...this.#beforeCloseCallbacks].map((callback) => callback()));
    await settledWithin(this.#hooks.beforeClose(), CLOSE_LIMIT_S * 1_000);
    this.#closed ||= this.connected;
    this.#executor = undefined;
    for (const callback of [...this.#closeCallbacks]) callback();
    this.#hooks.afterClose();
    await this.#release();
  }

  async #release(): Promise<void> {
    const listener = this.#listener;
    const pool = this.#pool;
    this.#listener = undefined;
    this.#check.heard = true;
    this.#pool = undefined;
    this.#executor = undefined;
    this.#opening = undefined;
    await Promise.all([listener?.close(), pool?.close(CLOSE_LIMIT_S)]);
  }

  #runConnectedCallbacks(): void {
    if (!this.connected) return;
    for (const callback of [...this.#connectedCallbacks]) if (this.#connectedCallbacks.delete(callback)) callback();
  }
}

function register<R>(callbacks: Set<() => R>, callback: () => R): () => void {
  // A function of its own for each call: the same callback may be registered twice.
  const own = () => callback();
  callbacks.add(own);
  return () => callbacks.delete(own);
}

import { randomInt } from 'node:crypto';
import type { ConnectionOptions } from '../../db/connect.js';
import { DrizzleExecutor } from '../../db/drizzle-executor.js';
import type { DrizzleLike, DrizzleTransactor } from '../../db/drizzle-like.js';
import { isLockTimeout } from '../../db/errors.js';
import type { Executor } from '../../db/executor.js';
import { Listener } from '../../db/listener.js';
import { OwnPool } from '../../db/pool.js';
import { connectionOf, postgresJsClient, template } from '../../db/postgres-js.js';
import { PreparedExecutor } from '../../db/prepared-executor.js';
import { compile } from '../../db/statement.js';
import { tablesIn } from '../../db/tables.js';
import { migrateConnection, migrateDrizzle, pendingReason, verifySchema } from '../../migrations/migrator.js';
import { ClosedError, ConveyorError } from '../../model/errors.js';
import { generateId } from '../../model/ids.js';
import { insertBatch, type JobRecord, type Saved } from '../add/insert.js';
import { announceParents } from '../events/announce.js';
import { Notifier } from '../events/notifier.js';
import { aggregateMetrics } from '../metrics/fold.js';
import { deleteExpired } from '../remove/delete-expired.js';
import type { ParentChange } from '../rules/cascade.js';
import { type Settled, type Settlement, settle, settledAlready } from '../settle/settle.js';
import { Batcher } from './batcher.js';
import type { ResolvedOptions } from './options.js';
import { pollStatement, readPollResult } from './poll-statement.js';
import { Poller } from './poller.js';

/** What disconnecting waits for what is under way. */
const CLOSE_LIMIT_S = 2;
/** What a statement's answer may take beyond the time after which the server ends it. */
const ANSWER_GRACE_MS = 2_000;
/** Settling and adding: the statement's JSON stays well below what jsonb can hold. */
const BATCH = { maxItems: 1_000, maxSize: 8 * 1024 * 1024 };
/** Small batches, and several: one that has to wait holds up few. */
const CONTESTED = { maxItems: 50, maxSize: BATCH.maxSize, parallel: 4 };
/**
 * ms that a batch waits for a row that somebody has locked: longer than it takes the server to see a deadlock. One job
 * whose parent or key is in an open transaction of the app's must not hold up all the others.
 */
const BATCH_LOCK_MS = 2_000;
/** And one that goes alone: then it is the next one's turn. */
const ALONE_LOCK_MS = 250;
/** Writers of one process share a row of each metrics bucket; processes are spread over so many. */
export const METRIC_SHARDS = 64;

/** Where the statements of one store run, and what keeps them company: events, batches, the watch over due times. */
export class Engine {
  readonly options: ResolvedOptions;
  readonly notifier: Notifier;
  readonly poller: Poller;
  /** Names this store in notifications, so that it does not hear itself. */
  readonly source = generateId();
  readonly shard = randomInt(METRIC_SHARDS);
  readonly adds: Batcher<JobRecord, Saved>;
  /** Adds that may have to wait for somebody's open transaction, because of a key or an id of the caller's. */
  readonly contestedAdds: Batcher<JobRecord, Saved>;
  /** Answers undefined where the lease was lost: nothing was written. */
  readonly settlements: Batcher<Settlement, Settled | undefined>;
  readonly #alone: Batcher<() => Promise<(Settled | undefined)[]>, Settled | undefined>;
  readonly #tables;
  #executor: Executor | undefined;
  #pool: OwnPool | undefined;
  #closing: Promise<void> | undefined;
  #listener: Listener | undefined;
  #connecting: Promise<void> | undefined;
  #reconnectCallbacks = new Set<() => void>();
  #closeCallbacks = new Set<() => void>();
  #connectedCallbacks: (() => void)[] = [];

  constructor(options: ResolvedOptions) {
    this.options = options;
    this.#tables = tablesIn(options.schema);
    const executor = () => this.#executor;
    this.notifier = new Notifier({
      executor,
      schema: options.schema,
      source: this.source,
      logger: options.logger,
      onEventHandlerError: options.onEventHandlerError,
      // A notification may have been sent between the first look and this.
      listen: (channel) => void this.#listener?.listen(channel).then((fresh) => fresh && this.poller.poll()),
      unlisten: (channel) => void this.#listener?.unlisten(channel),
    });
    this.poller = new Poller({
      executor,
      logger: options.logger,
      listening: () => this.#listener?.connected ?? false,
      deleteExpired: () => deleteExpired(this.executor),
      aggregateMetrics: options.metrics.enabled ? () => aggregateMetrics(this.executor, options.metrics) : undefined,
    });
    this.adds = new Batcher((records) => insertBatch(this.executor, records), { ...BATCH, parallel: 2 });
    this.contestedAdds = new Batcher((records) => insertBatch(this.executor, records), CONTESTED);
    this.settlements = new Batcher((batch) => this.#settle(batch, BATCH_LOCK_MS), {
      ...BATCH,
      parallel: 1,
      // One by one they would keep everybody else waiting.
      notOneByOne: isLockTimeout,
    });
    this.#alone = new Batcher(async (settle) => (settle[0] ? settle[0]() : []), {
      maxItems: 1,
      maxSize: 1,
      parallel: 1,
    });
  }

  /** The executor; throws when the store is not connected. */
  get executor(): Executor {
    if (!this.#executor)
      throw new ConveyorError('The store is not connected: await store.connect() first.', { code: 'NOT_CONNECTED' });
    return this.#executor;
  }

  /** Throws when the store is not connected: better now than from within a batch. */
  assertConnected(): void {
    void this.executor;
  }

  get connected(): boolean {
    return this.#executor !== undefined;
  }

  /** Statements inside a caller's transaction. */
  within(transaction: DrizzleLike): Executor {
    return new DrizzleExecutor(transaction, this.#tables, {
      inTransaction: true,
      timeout: this.options.statementTimeout,
      onStatement: this.options.onStatement,
    });
  }

  /** Called after LISTEN was away: what was notified meanwhile is lost. */
  onReconnect(callback: () => void): () => void {
    this.#reconnectCallbacks.add(callback);
    return () => this.#reconnectCallbacks.delete(callback);
  }

  /** Called when the store is disconnected, each time. */
  onClose(callback: () => void): () => void {
    this.#closeCallbacks.add(callback);
    return () => this.#closeCallbacks.delete(callback);
  }

  /** Resolves when the store is connected, now or later. */
  whenConnected(): Promise<void> {
    if (this.connected) return Promise.resolve();
    return new Promise((resolve) => this.#connectedCallbacks.push(resolve));
  }

  connect(): Promise<void> {
    this.#connecting ??= this.#connect().catch(async (error) => {
      // Who subscribed beforehand is still subscribed when the next try succeeds.
      await this.#release();
      throw error;
    });
    return this.#connecting;
  }

  disconnect(): Promise<void> {
    this.#closing ??= this.#close().finally(() => {
      this.#closing = undefined;
    });
    return this.#closing;
  }

  async #connect(): Promise<void> {
    await this.#closing;
    const { connection, db, schema, autoMigrate } = this.options;
    const executor = connection !== undefined ? await this.#openOwn(connection) : this.#adopt(db as DrizzleLike);
    if (!autoMigrate) {
      await verifySchema(executor, schema);
    } else if ((await pendingReason(executor, schema)) !== undefined) {
      const direct = connection ?? this.#postgresJsOptions(db as DrizzleLike);
      if (direct !== undefined) await migrateConnection(direct, schema);
      else await migrateDrizzle(db as DrizzleTransactor, schema);
    }
    const listenTo = this.#listenConnection();
    if (listenTo !== undefined) await this.#startListener(listenTo);
    else if (this.options.listen === true) {
      this.options.logger.warn(
        'conveyor: this Drizzle driver does not say where it connects, so the store cannot LISTEN and only polls: ' +
          'give it `listen: <connection URL>`, or `listen: false` if polling is what you want',
      );
    }
    this.#executor = executor;
    for (const callback of this.#connectedCallbacks.splice(0)) callback();
  }

  async #openOwn(connection: ConnectionOptions): Promise<Executor> {
    const { statementTimeout, logger } = this.options;
    const pool = await OwnPool.open(connection, statementTimeout, logger);
    this.#pool = pool;
    return new PreparedExecutor(() => pool.client, this.#tables, {
      prepare: pool.client.options.prepare !== false,
      // The server ends a slow statement itself: what has no answer by then is on a dead connection.
      timeout: statementTimeout + ANSWER_GRACE_MS,
      silent: (client) => void pool.replace(client),
      onStatement: this.options.onStatement,
    });
  }

  /** An app's database: prepared and pipelined on postgres.js, through `db.execute` on every other driver. */
  #adopt(db: DrizzleLike): Executor {
    const client = postgresJsClient(db);
    const timeout = this.options.statementTimeout;
    if (client) {
      return new PreparedExecutor(() => client, this.#tables, {
        prepare: client.options.prepare !== false,
        timeout,
        onStatement: this.options.onStatement,
      });
    }
    return new DrizzleExecutor(db, this.#tables, {
      inTransaction: false,
      timeout,
      onStatement: this.options.onStatement,
    });
  }

  #postgresJsOptions(db: DrizzleLike): ConnectionOptions | undefined {
    const client = postgresJsClient(db);
    return client && connectionOf(client);
  }

  #listenConnection(): ConnectionOptions | undefined {
    const { listen, connection, db } = this.options;
    if (listen === false) return undefined;
    if (typeof listen === 'string') return listen;
    return connection ?? this.#postgresJsOptions(db as DrizzleLike);
  }

  async #startListener(connection: ConnectionOptions): Promise<void> {
    const look = compile(pollStatement, this.#tables);
    const text = template(look.chunks);
    const listener = new Listener(connection, {
      logger: this.options.logger,
      onNotification: (_channel, payload) => this.notifier.receive(payload),
      onReconnect: () => {
        this.poller.poll();
        for (const callback of [...this.#reconnectCallbacks]) callback();
      },
      // The heartbeat is a look at the watched queues: an idle process needs no other statement.
      heartbeat: async (client) => {
        const queues = JSON.stringify(this.poller.queues());
        const rows = await client(text, ...look.bind({ queues })).values();
        this.poller.handle(rows.map((row) => readPollResult(row as (string | null)[])));
      },
    });
    for (const channel of this.notifier.channels()) void listener.listen(channel);
    this.#listener = listener;
    await listener.start();
    // Subscribed while the connection was opening.
    for (const channel of this.notifier.channels()) void listener.listen(channel);
  }

  async #close(): Promise<void> {
    const connecting = this.#connecting;
    // From here on connect() starts anew, after this.
    this.#connecting = undefined;
    await connecting?.catch(() => {});
    await Promise.race([
      Promise.all([
        this.poller.close(),
        this.notifier.flush(),
        // What they bring about is to be told, too.
        Promise.all([this.adds.idle(), this.contestedAdds.idle(), this.settlements.idle()]).then(() =>
          this.notifier.flush(),
        ),
      ]),
      new Promise((resolve) => setTimeout(resolve, CLOSE_LIMIT_S * 1000).unref()),
    ]);
    this.#executor = undefined;
    for (const callback of [...this.#closeCallbacks]) callback();
    this.notifier.clear();
    await this.#release();
  }

  async #release(): Promise<void> {
    const listener = this.#listener;
    const pool = this.#pool;
    this.#listener = undefined;
    this.#pool = undefined;
    this.#executor = undefined;
    this.#connecting = undefined;
    await Promise.all([listener?.close(), pool?.close(CLOSE_LIMIT_S)]);
  }

  /**
   * A settlement that has to wait for somebody's transaction: not in a batch with others, and one at a time. Else those
   * that wait would take up all connections.
   */
  settleAlone(settlement: Settlement): Promise<Settled | undefined> {
    return this.#alone.push(() => this.#settle([settlement], ALONE_LOCK_MS));
  }

  /** Settles a job that may have been settled otherwise before: answers only for what this settles. */
  async settleIfActive(settlement: Settlement): Promise<Settled | undefined> {
    const [settled] = await this.#settleActive([settlement], ALONE_LOCK_MS);
    return settled;
  }

  /** The same in its turn, if it has to wait. */
  settleAloneIfActive(settlement: Settlement): Promise<Settled | undefined> {
    return this.#alone.push(() => this.#settleActive([settlement], ALONE_LOCK_MS));
  }

  async #settle(batch: Settlement[], lockTimeout: number): Promise<(Settled | undefined)[]> {
    const outcomes = await this.#settleActive(batch, lockTimeout);
    const lost = batch.flatMap((_, i) => (outcomes[i] ? [] : [i]));
    if (lost.length === 0) return outcomes;
    const already = await settledAlready(
      this.executor,
      lost.map((i) => batch[i] as Settlement),
    );
    for (const [k, i] of lost.entries()) outcomes[i] = already[k];
    return outcomes;
  }

  async #settleActive(batch: Settlement[], lockTimeout: number): Promise<(Settled | undefined)[]> {
    const options = { metrics: this.options.metrics.enabled, shard: this.shard, lockTimeout };
    const parents: ParentChange[] = [];
    try {
      const { outcomes } = await settle(this.executor, batch, options, parents);
      return outcomes;
    } finally {
      announceParents(this.notifier, parents);
    }
  }
}

export function assertOpen(closed: boolean, what: string): void {
  if (closed) throw new ClosedError(what);
}

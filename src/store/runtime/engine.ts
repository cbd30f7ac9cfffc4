import { randomInt } from 'node:crypto';
import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Executor } from '../../db/executor.js';
import { postgresJsClient } from '../../db/postgres-js.js';
import { ConveyorError } from '../../model/errors.js';
import { generateId } from '../../model/ids.js';
import { insertBatch, type JobRecord, type Saved } from '../add/insert.js';
import { announceParents } from '../events/announce.js';
import { Notifier } from '../events/notifier.js';
import { aggregateMetrics } from '../metrics/fold.js';
import { deleteExpired } from '../remove/delete-expired.js';
import { deleteSpentSchedules } from '../remove/delete-spent-schedules.js';
import { IdleRows } from '../remove/idle-rows.js';
import { Trimmer } from '../remove/trim.js';
import { METRIC_SHARDS } from '../rules/metrics-buckets.js';
import { SetAside } from '../rules/set-aside.js';
import { Batcher, MAX_BATCH } from './batcher.js';
import { Connection } from './connection.js';
import type { ResolvedOptions } from './options.js';
import { Poller } from './poller.js';
import { SettleQueue } from './settle-queue.js';

const ADDS = { ...MAX_BATCH, parallel: 2 };
/** Small batches, several at a time: one that has to wait holds up few others. */
const CONTESTED_ADDS = { ...MAX_BATCH, maxItems: 50, parallel: 4 };

/** The parts of one store: connection, notifications, polling, and the batches of its statements. */
export class Engine {
  readonly options: ResolvedOptions;
  readonly notifier: Notifier;
  readonly poller: Poller;
  readonly adds: Batcher<JobRecord, Saved>;
  /** Adds with a deduplication key or an id of the caller's, which may have to wait for another open transaction. */
  readonly contestedAdds: Batcher<JobRecord, Saved>;
  readonly settlements: SettleQueue;
  /** The row of each metrics bucket that this process adds to. */
  readonly shard = randomInt(METRIC_SHARDS);
  /** Jobs for which the database refuses what is done for many at once. */
  readonly setAside: SetAside;
  readonly #connection: Connection;

  constructor(options: ResolvedOptions) {
    const { schema, logger, onEventHandlerError, metrics, listen, pollInterval, heartbeatInterval } = options;
    this.options = options;
    this.setAside = new SetAside(({ queueName, id }, cause, pauseMs) => {
      const problem = `job "${id}" of queue "${queueName}" is passed over for ${pauseMs / 1_000} s, because the database refuses it`;
      const error = new ConveyorError(`${problem}: ${(cause as Error).message}`, { code: 'JOB_SET_ASIDE', cause });
      logger.error(`conveyor: ${error.message}`, cause);
      this.poller.report(error, queueName);
    });
    this.#connection = new Connection(options, {
      channels: () => this.notifier.channels(),
      onNotification: (payload) => this.notifier.receive(payload),
      onReconnect: () => this.poller.poll(),
      // The heartbeat polls, so that an idle process needs no other statement.
      heartbeat: (executor) => this.poller.heartbeat(executor),
      beforeClose: () => this.#finish(),
      afterClose: () => this.notifier.clear(),
    });
    const executor = () => (this.connected ? this.executor : undefined);
    this.notifier = new Notifier({
      executor,
      schema,
      logger,
      onEventHandlerError,
      // Identifies this store's own notifications, which it ignores.
      source: generateId(),
      listen: (channel) => {
        // A notification may have been sent between the first poll and the LISTEN.
        void this.#connection.listen(channel).then((isNew) => isNew && this.poller.poll());
      },
      unlisten: (channel) => void this.#connection.unlisten(channel),
    });
    const trimmer = new Trimmer(() => this.executor, this.setAside);
    const idleRows = new IdleRows(() => this.executor);
    this.poller = new Poller({
      executor,
      logger,
      listening: () => this.#connection.listening,
      listens: listen !== false,
      pollInterval,
      heartbeatInterval,
      upkeep: async (queues) => {
        await trimmer.run(queues);
        await idleRows.run();
        await deleteSpentSchedules(this.executor);
      },
      deleteExpired: () => deleteExpired(this.executor, this.setAside),
      aggregateMetrics: metrics.enabled ? () => aggregateMetrics(this.executor, metrics) : undefined,
    });
    this.adds = new Batcher((records) => insertBatch(this.executor, records), ADDS);
    this.contestedAdds = new Batcher((records) => insertBatch(this.executor, records), CONTESTED_ADDS);
    this.settlements = new SettleQueue({
      executor: () => this.executor,
      metrics: metrics.enabled,
      shard: this.shard,
      onParentChanges: (parents) => announceParents(this.notifier, parents),
    });
  }

  /** @throws ConveyorError `NOT_CONNECTED` before `connect()`, ClosedError after `disconnect()` */
  get executor(): Executor {
    return this.#connection.executor;
  }

  /** How many connections an app's postgres.js client may open; undefined for the store's own pool and other drivers. */
  get sharedConnections(): number | undefined {
    const { db } = this.options;
    return db && postgresJsClient(db)?.options.max;
  }

  /** Whether events of other processes arrive. */
  get listening(): boolean {
    return this.#connection.listening;
  }

  get connected(): boolean {
    return this.#connection.connected;
  }

  /** For callers that would otherwise fail in the middle of a batch. @throws as `executor` does */
  assertConnected(): void {
    void this.executor;
  }

  connect(): Promise<void> {
    return this.#connection.open();
  }

  disconnect(): Promise<void> {
    return this.#connection.close();
  }

  /** Runs statements inside a caller's transaction. */
  within(transaction: DrizzleLike): Executor {
    return this.#connection.within(transaction);
  }

  /** Calls back after each interruption of LISTEN, when notifications may be lost. Returns what cancels it. */
  onReconnect(callback: () => void): () => void {
    return this.#connection.onReconnect(callback);
  }

  /** Calls back each time the store is about to be disconnected, which waits for it. Returns what cancels it. */
  beforeClose(callback: () => Promise<void>): () => void {
    return this.#connection.beforeClose(callback);
  }

  /** Calls back each time the store is disconnected. Returns what cancels it. */
  onClose(callback: () => void): () => void {
    return this.#connection.onClose(callback);
  }

  /** Calls back once, as soon as the store is connected. Returns what cancels it. */
  whenConnected(callback: () => void): () => void {
    return this.#connection.whenConnected(callback);
  }

  async #finish(): Promise<void> {
    const batches = Promise.all([this.adds.idle(), this.contestedAdds.idle(), this.settlements.idle()]);
    // The last batches publish events, too.
    const published = batches.then(() => this.notifier.flush());
    await Promise.all([this.poller.close(), this.notifier.flush(), published]);
  }
}

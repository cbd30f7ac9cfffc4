import { afterAll } from 'vitest';
import type { StoreEvent } from '../../src/model/event.js';
import type { Logger } from '../../src/model/logger.js';
import type { StoreInterface } from '../../src/model/store-interface.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { type UsedDatabase, useDatabase } from './database.js';

/** What the suites need of a store beside its contract. */
export interface StoreOptions {
  metrics?: { enabled?: boolean; retentionMinutes?: number; retentionHours?: number };
  logger?: Logger;
  listen?: boolean | string;
  onEventHandlerError?: (error: unknown, event: StoreEvent) => void;
}

export type ContractStore = StoreInterface & AsyncDisposable & { truncateAll(): Promise<void> };

/** Makes stores on one set of data: two of them are two processes that share it. */
export interface StoreFactory {
  readonly name: string;
  /** A new store, not connected. It is disconnected when the suite is over. */
  make(options?: StoreOptions): ContractStore;
  /** The same, connected. */
  open(options?: StoreOptions): Promise<ContractStore>;
  /** Where the data is in Postgres: for races with a second connection. */
  readonly database?: UsedDatabase;
}

/** To be called in a `describe` or at the top of a file: the database is there from `beforeAll` to `afterAll`. */
export type MakeFactory = () => StoreFactory;

export const pgStoreFactory: MakeFactory = () => {
  const database = useDatabase();
  const stores: ContractStore[] = [];
  // Hooks run last in, first out: the database is still there.
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.disconnect()));
  });
  const factory: StoreFactory = {
    name: 'PgStore',
    database,
    make(options = {}) {
      const store = new PgStore({ connection: database.url, listen: false, ...options });
      stores.push(store);
      return store;
    },
    async open(options) {
      const store = factory.make(options);
      await store.connect();
      return store;
    },
  };
  return factory;
};

/** A connected store without notifications that logs nothing; the caller disconnects it. */
export async function openStore(url: string, more: { metrics?: boolean } = {}): Promise<PgStore> {
  const store = new PgStore({
    connection: url,
    autoMigrate: false,
    listen: false,
    metrics: { enabled: more.metrics ?? false },
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  await store.connect();
  return store;
}

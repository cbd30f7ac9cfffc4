import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, describe, expect, test } from 'vitest';
import { ConnectionError, SchemaError } from '../../../src/model/errors.js';
import { PgStore } from '../../../src/store/contract/pg-store.js';
import { pgStoreFactory } from '../../support/contract-stores.js';
import { createDatabase, useDatabase } from '../../support/database.js';
import { openTransaction, untilWaiting } from '../../support/held.js';
import { jobIn, newQueue } from '../../support/rows.js';
import { describeLifeCycle } from './suites/life-cycle.js';

describeLifeCycle(pgStoreFactory);

describe('the life cycle of PgStore', () => {
  const database = useDatabase();
  const stores: PgStore[] = [];
  const make = (options: Partial<ConstructorParameters<typeof PgStore>[0]> = {}) => {
    const store = new PgStore({ connection: database.url, listen: false, ...options } as never);
    stores.push(store);
    return store;
  };
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.disconnect()));
  });
  const backends = async () => {
    const rows = await database.sql`select 1 from pg_stat_activity
      where datname = current_database() and application_name = 'conveyor'`;
    return rows.length;
  };

  test('the constructor is synchronous and opens nothing', async () => {
    make({ listen: true });
    expect(await backends()).toBe(0);
    expect(() => new PgStore({} as never)).toThrow(TypeError);
    expect(() => new PgStore({ connection: database.url, db: { execute() {} } } as never)).toThrow(TypeError);
    expect(() => make({ metrics: { retentionMinutes: 0 } })).toThrow(RangeError);
  });

  test('disconnect ends all that was opened', async () => {
    const store = make({ listen: true });
    await store.connect();
    expect(await backends()).toBeGreaterThan(0);
    await store.disconnect();
    await expect.poll(backends).toBe(0);
  });

  describe('an unreachable server', () => {
    const sockets = new Set<Socket>();
    let silent: Server | undefined;
    afterAll(() => {
      for (const socket of sockets) socket.destroy();
      silent?.close();
    });

    test('is a clear error without the password', async () => {
      const store = make({ connection: 'postgres://me:s3cret@127.0.0.1:1/db' });
      const error = await store.connect().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(ConnectionError);
      expect(String(error)).toMatch(/Cannot connect to Postgres at 127\.0\.0\.1:1\/db/);
      expect(String(error)).not.toContain('s3cret');
    });

    test('that takes connections and says nothing, too', async () => {
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
      });
      silent = server;
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
      const { port } = server.address() as AddressInfo;
      const store = make({ connection: { host: '127.0.0.1', port, user: 'u', password: 'p', connect_timeout: 1 } });
      await expect(store.connect()).rejects.toBeInstanceOf(ConnectionError);
    });

    test('a store whose first connect failed can connect later', async () => {
      const connection = { host: '127.0.0.1', port: 1, connect_timeout: 1 };
      const store = make({ connection });
      await expect(store.connect()).rejects.toBeInstanceOf(ConnectionError);
      const url = new URL(database.url);
      Object.assign(connection, { port: Number(url.port), user: url.username, password: url.password });
      Object.assign(connection, { database: url.pathname.slice(1) });
      await store.connect();
      expect(await store.countJobs('q', 'failed')).toBe(0);
    });
  });

  describe('migrations', () => {
    test('connect makes the tables, from any number of stores at once', async () => {
      const empty = await createDatabase({ empty: true });
      const all = Array.from({ length: 4 }, () => make({ connection: empty.url }));
      await Promise.all(all.map((store) => store.connect()));
      expect(await all[0]?.saveJob('q', jobIn('waiting', { id: 'a' }))).toBe('a');
      expect(await all[3]?.getJob('q', 'a')).toMatchObject({ id: 'a' });
      await Promise.all(all.map((store) => store.disconnect()));
      await empty.drop();
    });

    test('autoMigrate: false verifies, and says what is missing and how to mend it', async () => {
      const empty = await createDatabase({ empty: true });
      const store = make({ connection: empty.url, autoMigrate: false });
      const error = await store.connect().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(SchemaError);
      expect(String(error)).toMatch(/conveyor_jobs.*missing[\s\S]*migrate/);
      await empty.drop();
      const fine = make({ autoMigrate: false });
      await fine.connect();
      expect(await fine.countJobs('q', 'failed')).toBe(0);
    });

    test('truncateAll keeps the record of them', async () => {
      const store = make();
      await store.connect();
      await store.truncateAll();
      expect(await database.sql`select 1 from conveyor_migrations`).not.toHaveLength(0);
    });
  });

  test("an app's client is used and never ended", async () => {
    const client = postgres(database.url, { max: 2, onnotice: () => {} });
    const store = new PgStore({ db: drizzle({ client }), listen: false });
    await store.connect();
    const q = newQueue();
    await store.saveJob(q, jobIn('waiting', { id: 'a', data: { text: '10.5' } }));
    expect(await store.getJob(q, 'a')).toMatchObject({ data: { text: '10.5' } });
    await store.disconnect();
    expect(await client`select 1 as one`).toEqual([{ one: 1 }]);
    await client.end();
  });

  test('disconnect comes back also behind a stuck query', async () => {
    const store = make();
    await store.connect();
    const q = newQueue();
    await store.saveJob(q, jobIn('waiting', { id: 'held' }));
    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_jobs where queue_name = ${q} for update`;
    const stuck = store.updateJob(q, 'held', { progress: 5 }).then(
      () => 'done',
      () => 'rejected',
    );
    await untilWaiting(database.sql);
    await store.disconnect();
    expect(await stuck).toBe('rejected');
    await held.rollback();
  });
});

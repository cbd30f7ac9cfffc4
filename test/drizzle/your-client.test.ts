/** What a store makes of an app's client: how it sends statements over it, and where it listens. */
import { drizzle as drizzleNodePg } from 'drizzle-orm/node-postgres';
import { drizzle as drizzleProxy } from 'drizzle-orm/pg-proxy';
import { drizzle } from 'drizzle-orm/postgres-js';
import pg from 'pg';
import postgres from 'postgres';
import { afterEach, describe, expect, it } from 'vitest';
import { migrate, PgStore, type PgStoreOptions, Queue, SchemaError, type StoreEvent, Worker } from '../../src/index.js';
import { createDatabase, useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { newName, recordingLogger } from '../support/playground.js';
import { until } from '../support/until.js';

const database = useDatabase();
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

type Options = postgres.Options<Record<string, postgres.PostgresType>>;

async function connected(options: PgStoreOptions): Promise<PgStore> {
  const store = new PgStore({ autoMigrate: false, ...options });
  closing.push(() => store.disconnect());
  await store.connect();
  return store;
}

function postgresJs(options: Options = {}) {
  const client = postgres(database.url, { onnotice: () => {}, ...options });
  closing.push(() => client.end({ timeout: 1 }));
  return client;
}

function nodePg() {
  const pool = new pg.Pool({ connectionString: database.url, max: 3 });
  closing.push(() => pool.end());
  return drizzleNodePg({ client: pool });
}

/** Connections that have said LISTEN, and nothing since. */
const listening = async () =>
  (
    await database.sql<{ name: string }[]>`
      select application_name as name from pg_stat_activity
      where datname = current_database() and query ilike 'listen %'`
  ).map(({ name }) => name);

/** Resolves when a notification of another process has arrived; polling delivers none. */
async function hears(store: PgStore): Promise<void> {
  const queueName = newName();
  const other = await connected({ connection: database.url, listen: false });
  const heard: StoreEvent[] = [];
  store.subscribe(queueName, (event) => heard.push(event));
  // Until it listens.
  await until(async () => {
    await other.publish({ type: 'queue:paused', queueName, timestamp: new Date() });
    return heard.length > 0;
  });
}

/** A job runs, and its end is seen. */
async function runs(store: PgStore): Promise<void> {
  const queue = new Queue<number>(newName(), { store });
  const worker = new Worker<number>(queue.name, async (job) => job.data * 2, { store });
  closing.push(() => worker.close());
  const job = await queue.add('double', 21);
  expect(await job.waitUntilFinished(15_000)).toBe(42);
}

describe('postgres.js', () => {
  it('gets prepared statements, many at a time on one connection', async () => {
    const sent: string[] = [];
    const client = postgresJs({ max: 1, debug: (_, text) => sent.push(text) });
    const store = await connected({ db: drizzle({ client }), listen: false });
    const queue = new Queue<number>(newName(), { store });
    const job = await queue.add('first', 0);
    await job.updateProgress(1);
    await queue.count('waiting');

    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_jobs where id = ${job.id} for update`;
    sent.length = 0;
    const updated = job.updateProgress(2);
    const counted = queue.count('waiting');
    // The first waits for a lock, and the second is on its way to the server all the same.
    await untilWaiting(database.sql);
    expect(sent).toEqual([expect.stringMatching(/ update "conveyor_jobs"/), expect.stringMatching(/count/)]);
    await held.rollback();
    await updated;
    expect(await counted).toBe(1);

    // Sent twice, each is there once, to be sent by its name again.
    const prepared = await client`select statement from pg_prepared_statements`;
    for (const text of sent) expect(prepared.filter(({ statement }) => statement === text)).toHaveLength(1);
  });

  it('says by its options where to listen', async () => {
    const { hostname, port, username, password, pathname } = new URL(database.url);
    const client = postgres({
      host: hostname,
      port: Number(port),
      user: username,
      password: () => decodeURIComponent(password),
      database: pathname.slice(1),
      connection: { application_name: 'of the app' },
      max: 1,
      transform: postgres.toCamel,
      types: { text: { to: 25, from: [25], serialize: String, parse: (text: string) => ({ text }) } },
    });
    closing.push(() => client.end({ timeout: 1 }));
    const store = await connected({ db: drizzle({ client }) });
    await hears(store);
    expect(await listening()).toEqual(['of the app']);
    await runs(store);
    await store.disconnect();
    // Its own connection is there still.
    expect(await client`select 1 as one`).toEqual([{ one: 1 }]);
    await until(async () => (await listening()).length === 0);
  });

  it('may read texts in a way of the app’s; a transaction that does so is refused', async () => {
    const parse = (text: string) => ({ text });
    const client = postgresJs({ types: { text: { to: 25, from: [25], serialize: String, parse } } });
    const db = drizzle({ client });
    const store = await connected({ db, listen: false });
    await runs(store);
    const queue = new Queue<number>(newName(), { store });
    await expect(db.transaction((tx) => queue.withTransaction(tx).add('one', 1, { jobId: 'own' }))).rejects.toThrow(
      /parser for type 25/,
    );
    expect(await queue.count('waiting')).toBe(0);
  });

  it('listens elsewhere, or nowhere, when it is told so', async () => {
    const url = new URL(database.url);
    url.searchParams.set('application_name', 'direct');
    const [client, { lines, logger }] = [postgresJs({ max: 4 }), recordingLogger()];
    const direct = await connected({ db: drizzle({ client }), listen: url.href, logger });
    await hears(direct);
    expect(await listening()).toEqual(['direct']);
    await direct.disconnect();
    await until(async () => (await listening()).length === 0);
    const polling = await connected({ db: drizzle({ client }), listen: false, logger });
    await runs(polling);
    expect(await listening()).toEqual([]);
    expect(lines).toEqual([]);
  });
});

describe('node-postgres', () => {
  it('listens where it is told to', async () => {
    const store = await connected({ db: nodePg(), listen: database.url });
    await hears(store);
    expect(await listening()).toEqual(['conveyor']);
    await runs(store);
  });

  it('is refused when it reads texts in a way of the app’s', async () => {
    const before = pg.types.getTypeParser(25);
    closing.push(async () => pg.types.setTypeParser(25, before));
    pg.types.setTypeParser(25, ((text: string) => ({ text })) as never);
    await expect(connected({ db: nodePg(), listen: false })).rejects.toThrow(/parser for type 25/);
  });

  it.each([
    ['says that it only polls', {}, [{ level: 'warn', message: expect.stringContaining('only polls') }]],
    ['polls without a word when that was asked for', { listen: false }, []],
  ])('%s', async (_, options, said) => {
    const { lines, logger } = recordingLogger();
    await runs(await connected({ db: nodePg(), logger, ...options }));
    expect(await listening()).toEqual([]);
    expect(lines).toMatchObject(said);
  });
});

describe('a driver without transactions', () => {
  it('cannot create the tables, and the store says what to do instead', async () => {
    const empty = await createDatabase({ empty: true });
    const pool = new pg.Pool({ connectionString: empty.url, max: 2 });
    closing.push(async () => {
      await pool.end();
      await empty.drop();
    });
    const db = drizzleProxy(async (text, values, method) => {
      const { rows } = await pool.query({ text, values, ...(method === 'all' && { rowMode: 'array' as const }) });
      return { rows };
    });
    const store = new PgStore({ db: db as never, listen: false, autoMigrate: true, logger: recordingLogger().logger });
    closing.push(() => store.disconnect());
    const refused = await store.connect().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SchemaError);
    expect((refused as Error).message).toMatch(/no transactions.*migrate\(\{ connection.*autoMigrate: false/);
    // As advised.
    await migrate({ connection: empty.url });
    await connected({ db: db as never, listen: false });
  });
});

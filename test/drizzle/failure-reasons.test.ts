import { PGlite } from '@electric-sql/pglite';
import { sql } from 'drizzle-orm';
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres';
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite';
import { drizzle } from 'drizzle-orm/postgres-js';
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

/** What is stored of a handler's failed query, by driver and by major version of Drizzle. */

const SECRET = 'ann@example.org';
const TABLE = 'create table users (id int primary key, email text constraint users_email_key unique)';
const INSERT = 'insert into users values ($1, $2)';
const REASON = 'duplicate key value violates unique constraint "users_email_key" (23505, users_email_key)';

const play = usePlayground();
const ends: (() => Promise<unknown>)[] = [];
const inserts: Record<string, (id: unknown) => PromiseLike<unknown>> = {};

/** drizzle-orm 1.x, of which no types are loaded beside those of 0.x. */
const load = async (path: string) =>
  (await import(`drizzle-orm-1/${path}`)) as Record<string, (...args: unknown[]) => never>;

beforeAll(async () => {
  const { url } = play.database;
  await play.database.sql.unsafe(TABLE);
  await play.database.sql`insert into users values (1, ${SECRET})`;
  const client = postgres(url, { max: 1 });
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const pglite = await PGlite.create();
  await pglite.exec(TABLE);
  await pglite.query(INSERT, [1, SECRET]);
  ends.push(
    () => client.end(),
    () => pool.end(),
    () => pglite.close(),
  );
  // drizzle() changes the client that it is given.
  const drizzled = postgres(url, { max: 2 });
  ends.push(() => drizzled.end());
  const statement = (id: unknown) => sql`insert into users values (${id}, ${SECRET})`;
  const one = await load('sql');
  const statement1 = (id: unknown) =>
    (one['sql'] as unknown as typeof sql)`insert into users values (${id}, ${SECRET})`;
  const clients = { 'postgres-js': drizzled, 'node-postgres': pool, pglite };
  const databases = {
    'postgres-js': drizzle({ client: drizzled }),
    'node-postgres': drizzlePg({ client: pool }),
    pglite: drizzlePglite({ client: pglite }),
  };
  Object.assign(inserts, {
    'postgres.js': (id: unknown) => client.unsafe(INSERT, [id as string, SECRET]),
    'node-postgres': (id: unknown) => pool.query(INSERT, [id, SECRET]),
    PGlite: (id: unknown) => pglite.query(INSERT, [id, SECRET]),
  });
  for (const [driver, db] of Object.entries(databases)) {
    const { drizzle: drizzle1 } = await load(driver);
    const db1 = drizzle1!({ client: clients[driver as keyof typeof clients] }) as typeof db;
    inserts[`Drizzle 0.x on ${driver}`] = (id) => db.execute(statement(id));
    inserts[`Drizzle 1.x on ${driver}`] = (id) => db1.execute(statement1(id));
  }
});
afterAll(async () => {
  await Promise.all(ends.map((end) => end()));
});

const DRIVERS = [
  ...['postgres.js', 'node-postgres', 'PGlite'],
  ...['postgres-js', 'node-postgres', 'pglite'].flatMap((driver) => [
    `Drizzle 0.x on ${driver}`,
    `Drizzle 1.x on ${driver}`,
  ]),
];

it.each(DRIVERS)('%s: the reason explains, and no parameter is stored', async (driver) => {
  const insert = inserts[driver]!;
  const store = await play.open();
  const queue = play.queue(store);
  const thrown: unknown[] = [];
  const worker = play.worker(queue, store, async ({ name }) => {
    const id = name === 'bad number' ? SECRET : 1;
    try {
      return await insert(name === 'unique' ? 2 : id);
    } catch (error) {
      thrown.push(error);
      if (name === 'returned') return { error };
      throw name === 'wrapped' ? new Error('import failed', { cause: error }) : error;
    }
  });
  const heard = record(worker);
  const failsWith = async (name: string, reason: string) => {
    const job = await queue.add(name, null);
    await expect(job.waitUntilFinished()).rejects.toThrow(
      expect.objectContaining({ message: reason, code: 'JOB_FAILED' }),
    );
    const row = await rowOf(play, job);
    expect(row).toMatchObject({
      failed_reason: reason,
      attempt_logs: [{ error: reason }],
      stacktrace: [expect.any(String)],
    });
    expect(JSON.stringify(row)).not.toContain(SECRET);
    expect(row!['stacktrace']).toEqual([expect.stringContaining(reason.slice(reason.lastIndexOf('(')))]);
    await until(() => heard.failed.some(({ id }) => id === job.id));
    const original = heard.failed.find(({ id }) => id === job.id)!.error;
    expect(name === 'wrapped' ? original.cause : original).toBe(thrown.at(-1));
  };
  await failsWith('unique', REASON);
  await failsWith(
    'wrapped',
    'import failed: duplicate key value violates unique constraint "users_pkey" (23505, users_pkey)',
  );
  await failsWith('bad number', 'invalid input syntax for type integer: "…" (22P02)');
  const returned = await queue.add('returned', null);
  await returned.waitUntilFinished();
  expect(JSON.stringify(await rowOf(play, returned))).not.toContain(SECRET);
  expect(JSON.stringify(play.said)).not.toContain(SECRET);
});

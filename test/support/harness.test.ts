import postgres from 'postgres';
import { expect, test } from 'vitest';
import { createDatabase, useDatabase } from './database.js';
import { spawnScript } from './process.js';
import { barrier, deferred, until } from './until.js';

const database = useDatabase();

test('a database answers', async () => {
  expect(await database.sql`select 1 as one`).toEqual([{ one: 1 }]);
});

test('databases made at once are separate, and gone when dropped', async () => {
  const databases = await Promise.all([
    createDatabase(),
    createDatabase({ empty: true }),
    createDatabase(),
    createDatabase(),
  ]);
  const clients = databases.map(({ url }) => postgres(url, { max: 1, onnotice: () => {} }));
  for (const [i, sql] of clients.entries()) {
    await sql`create table mark (who int)`;
    await sql`insert into mark values (${i})`;
  }
  for (const [i, sql] of clients.entries()) expect(await sql`select who from mark`).toEqual([{ who: i }]);
  await Promise.all(clients.map((sql) => sql.end()));

  await Promise.all(databases.map((each) => each.drop()));
  const names = databases.map(({ url }) => new URL(url).pathname.slice(1));
  expect(await database.sql`select datname from pg_database where datname in ${database.sql(names)}`).toHaveLength(0);
});

test('a database is dropped while somebody is connected', async () => {
  const each = await createDatabase({ empty: true });
  const sql = postgres(each.url, { max: 1, onnotice: () => {} });
  await sql`select 1`;
  await each.drop();
  await expect(sql`select 1`).rejects.toThrow();
  await sql.end();
});

test('until resolves to the truthy value, and its error names what it waited for', async () => {
  let asked = 0;
  expect(await until(() => (++asked === 3 ? 'three' : undefined))).toBe('three');
  await expect(until(() => false, { timeout: 30, what: 'pigs to fly' })).rejects.toThrow(
    'timed out after 30 ms waiting for pigs to fly (last value: false)',
  );
});

test('a barrier lets nobody through before the last', async () => {
  const arrive = barrier(2);
  let through = 0;
  const first = arrive().then(() => ++through);
  await deferredTurn();
  expect(through).toBe(0);
  await Promise.all([first, arrive()]);
  expect(through).toBe(1);
});

async function deferredTurn(): Promise<void> {
  const turn = deferred();
  setImmediate(turn.resolve);
  await turn.promise;
}

test('a script talks, listens and ends', async () => {
  const script = spawnScript(new URL('./echo.script.ts', import.meta.url), { args: ['hello'] });
  expect(await script.waitFor((line: { args?: string[] }) => line.args !== undefined)).toEqual({ args: ['hello'] });
  script.send({ say: 'again' });
  await script.waitFor((line: { say?: string }) => line.say === 'again');
  script.send({ exit: 3 });
  expect(await script.exit).toBe(3);
  const lines = [];
  for await (const line of script.stream()) lines.push(line);
  expect(lines).toEqual([{ args: ['hello'] }, { say: 'again' }]);
});

test('a script that ends too early says why', async () => {
  const script = spawnScript(new URL('./echo.script.ts', import.meta.url), { args: ['fail'] });
  await expect(script.waitFor(() => false, { what: 'a word' })).rejects.toThrow(
    /ended without a word[\s\S]*on purpose/,
  );
  expect(await script.exit).toBe(1);
});

test('a script can be killed', async () => {
  const script = spawnScript(new URL('./echo.script.ts', import.meta.url));
  await script.waitFor(() => true);
  expect(await script.kill()).toBe('SIGKILL');
});

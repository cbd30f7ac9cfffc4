import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PgStore, Queue, SchemaError, Worker } from '../../src/index.js';
import { useDatabase } from '../support/database.js';
import { recordingLogger } from '../support/playground.js';

const db = useDatabase();
const role = `conveyor_app_${process.pid}`;
let url: string;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const own = new URL(db.url);
  own.username = role;
  own.password = 'plain';
  url = own.href;
  await db.sql.unsafe(`create role ${role} login password 'plain'`);
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(async () => {
  await db.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
});

function newStore() {
  const said = recordingLogger();
  const store = new PgStore({ connection: url, logger: said.logger });
  closing.push(() => store.disconnect());
  return { store, lines: said.lines };
}

describe('connect as a role that is not the owner', () => {
  it('says what to grant until nothing is lacking', async () => {
    for (let round = 0; round < 5; round++) {
      const { store } = newStore();
      const error = await store.connect().then(
        () => undefined,
        (e: Error) => e,
      );
      if (!error) break;
      expect(error).toBeInstanceOf(SchemaError);
      const [, grants] = /Run: (.*)\.$/.exec(error.message) ?? [];
      expect(grants, error.message).toMatch(/^grant /);
      await db.sql.unsafe(grants as string);
    }
    const { store, lines } = newStore();
    await store.connect();
    const queue = new Queue('granted', { store });
    const worker = new Worker('granted', () => 'ran', { store });
    expect(await (await queue.add('work', null)).waitUntilFinished('20s')).toBe('ran');
    await worker.close();
    expect(lines).toEqual([]);
  });

  it('names a single privilege that is missing', async () => {
    await db.sql.unsafe(`revoke delete on conveyor_schedules from ${role}`);
    const { store } = newStore();
    await expect(store.connect()).rejects.toThrow(
      /lacks delete on "public"."conveyor_schedules". Run: grant delete on/,
    );
    await db.sql.unsafe(`grant delete on conveyor_schedules to ${role}`);
  });

  it('refuses row level security that hides all jobs, and warns of policies that may hide some', async () => {
    await db.sql`alter table conveyor_jobs enable row level security`;
    await expect(newStore().store.connect()).rejects.toThrow(
      /hides every row of "public"."conveyor_jobs".*create policy/,
    );
    await db.sql.unsafe(`create policy partial on conveyor_jobs to ${role} using (queue_name = 'a')`);
    const some = newStore();
    await some.store.connect();
    expect(some.lines).toMatchObject([{ level: 'warn', message: expect.stringMatching(/policies.*conveyor_jobs/) }]);
    await db.sql.unsafe(`create policy conveyor on conveyor_jobs to ${role} using (true) with check (true)`);
    const all = newStore();
    await all.store.connect();
    expect(all.lines).toEqual([]);
    await db.sql`alter table conveyor_jobs disable row level security`;
  });
});

describe('connect to a database of another encoding', () => {
  it('warns that characters get lost', async () => {
    const name = `latin_${process.pid}`;
    await db.sql.unsafe(`create database ${name} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0`);
    const latin = new URL(db.url);
    latin.pathname = `/${name}`;
    const { lines, logger } = recordingLogger();
    const store = new PgStore({ connection: latin.href, logger });
    await store.connect();
    await store.disconnect();
    await db.sql.unsafe(`drop database ${name}`);
    expect(lines).toMatchObject([{ level: 'warn', message: expect.stringMatching(/encoding LATIN1, not UTF8/) }]);
  });
});

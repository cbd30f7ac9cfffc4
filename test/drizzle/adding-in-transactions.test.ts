/** Jobs that are added and settled inside the app's transactions, beside what happens outside of them. */
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FlowProducer, GroupFullError, type Job, PgStore } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { deferred, until } from '../support/until.js';

const { database, queue: newQueue } = usePlayground();
const idleWorker = new URL('../core/idle-worker.script.ts', import.meta.url);

let client: postgres.Sql;
let db: ReturnType<typeof drizzle>;
let store: PgStore;
type Transaction = Parameters<Parameters<typeof db.transaction>[0]>[0];

beforeAll(async () => {
  client = postgres(database.url, { max: 10, onnotice: () => {} });
  db = drizzle({ client });
  store = new PgStore({ db, autoMigrate: false });
  await store.connect();
  await database.sql`create table effects (who text not null)`;
});
afterAll(async () => {
  await store.disconnect();
  await client.end({ timeout: 1 });
});

class RolledBack extends Error {}

/** Resolves when the transaction began over 50 ms ago. */
const untilOld = (tx: Transaction) =>
  until(async () => (await tx.execute(`select 1 where clock_timestamp() > now() + interval '50 ms'`)).length > 0);

/** A transaction that stays open until the test commits it or rolls it back. */
async function opened() {
  const end = deferred<'commit' | 'rollback'>();
  const begun = deferred<Transaction>();
  const over = db
    .transaction(async (tx) => {
      begun.resolve(tx);
      if ((await end.promise) === 'rollback') throw new RolledBack();
    })
    .catch((error) => {
      if (!(error instanceof RolledBack)) throw error;
    });
  const finish = async (how: 'commit' | 'rollback') => {
    end.resolve(how);
    await over;
  };
  return { tx: await begun.promise, commit: () => finish('commit'), rollback: () => finish('rollback') };
}

/** Until somebody waits for a lock that another session holds. */
const somebodyWaits = () =>
  until(
    async () =>
      (
        await database.sql`select 1 from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock' and query like '%conveyor_jobs%'`
      ).length > 0,
    { what: 'somebody to wait for the transaction' },
  );

describe('adding in a transaction', () => {
  it('wakes an idle worker in another process by the commit, and by nothing before it', async () => {
    const queue = newQueue(store);
    const script = spawnScript(idleWorker, { args: [database.url, queue.name] });
    await script.waitFor((line) => line === 'idle');
    const dropped = await opened();
    await queue.withTransaction(dropped.tx).add('dropped', 1);
    await dropped.rollback();
    const kept = await opened();
    const [job] = (await queue.withTransaction(kept.tx).addBulk([{ name: 'kept', data: 1 }])) as [Job];
    const flow = await new FlowProducer({ store }).withTransaction(kept.tx).add({
      name: 'parent',
      queueName: queue.name,
      data: 1,
      children: [{ name: 'child', queueName: queue.name, data: 1 }],
    });
    await kept.commit();
    // It was notified; it did not poll.
    const ran = (id: string) => script.waitFor((line: { ran?: string }) => line.ran === id);
    expect(await ran(job.id)).toEqual({ ran: job.id, polls: 0 });
    expect(await ran(flow.children![0]!.job.id)).toMatchObject({ polls: 0 });
    expect(await ran(flow.job.id)).toMatchObject({ polls: 0 });
    expect(script.lines).toHaveLength(4);
    await script.kill();
  });

  it('wakes it when a delayed job of a transaction comes due', async () => {
    const queue = newQueue(store);
    const script = spawnScript(idleWorker, { args: [database.url, queue.name] });
    await script.waitFor((line) => line === 'idle');
    const job = await db.transaction((tx) => queue.withTransaction(tx).add('soon', 1, { delay: 50 }));
    expect(await script.waitFor((line: { ran?: string }) => line.ran === job.id)).toMatchObject({ ran: job.id });
    await script.kill();
  });

  describe.each([
    ['deduplication key', { deduplication: { key: 'k' } }],
    ['jobId', { jobId: 'j' }],
  ] as const)('beside another add with the same %s', (_, opts) => {
    it('gives the job of the transaction that commits', async () => {
      const queue = newQueue(store);
      const first = await opened();
      const second = await opened();
      const added = await queue.withTransaction(first.tx).add('first', 1, opts);
      const waiting = queue.withTransaction(second.tx).add('second', 2, opts);
      await somebodyWaits();
      await first.commit();
      const given = await waiting;
      expect(given).toMatchObject({ id: added.id, name: 'first', data: 1 });
      // The transaction that lost goes on.
      const other = await queue.withTransaction(second.tx).add('other', 3);
      await second.commit();
      expect(await queue.getJob(other.id)).not.toBeNull();
      expect(await queue.count('waiting')).toBe(2);
    });

    it('adds its own when the other rolls back', async () => {
      const queue = newQueue(store);
      const first = await opened();
      await queue.withTransaction(first.tx).add('first', 1, opts);
      const waiting = queue.add('second', 2, opts);
      await somebodyWaits();
      await first.rollback();
      expect(await waiting).toMatchObject({ name: 'second', data: 2 });
      expect(await queue.count('waiting')).toBe(1);
    });

    it('gives the one that exists also in a transaction that sees one snapshot', async () => {
      const queue = newQueue(store);
      const there = await queue.add('there', 1, opts);
      await db.transaction(
        async (tx) => {
          expect((await queue.withTransaction(tx).add('again', 2, opts)).id).toBe(there.id);
          await queue.withTransaction(tx).add('another', 3);
        },
        { isolationLevel: 'serializable' },
      );
      expect(await queue.count('waiting')).toBe(2);
    });
  });

  it('refuses a job for a full group without ending the transaction', async () => {
    const queue = newQueue(store);
    const group = { id: 'g', maxSize: 1 };
    await db.transaction(async (tx) => {
      const within = queue.withTransaction(tx);
      await within.add('first', 1, { group });
      await expect(within.add('second', 2, { group })).rejects.toThrow(GroupFullError);
      await within.add('third', 3);
    });
    expect(await queue.count('waiting')).toBe(2);
  });

  it('registers a schedule, or does not', async () => {
    const queue = newQueue(store);
    const every = { repeat: { every: '1 hour' } } as const;
    const dropped = await opened();
    await queue.withTransaction(dropped.tx).add('tick', 1, every);
    await dropped.rollback();
    expect(await queue.getSchedules()).toEqual([]);
    await db.transaction((tx) => queue.withTransaction(tx).add('tick', 1, every));
    expect(await queue.getSchedules()).toHaveLength(1);
    expect(await queue.count('waiting')).toBe(1);
  });

  it('counts delays from the add, however long the transaction has been open', async () => {
    const queue = newQueue(store);
    const job = await db.transaction(async (tx) => {
      await untilOld(tx);
      const added = await queue.withTransaction(tx).add('later', 1, { delay: '1 hour' });
      await tx.execute(`insert into effects values (now() + interval '1 hour')`);
      return added;
    });
    const [row] = await database.sql`
      select delay_until > who::timestamptz + interval '50 ms' as later from conveyor_jobs, effects
      where id = ${job.id} and who like '____-__-__ %'`;
    expect(row).toEqual({ later: true });
  });

  it('refuses bad data before it reaches the transaction', async () => {
    const queue = newQueue(store);
    await db.transaction(async (tx) => {
      await expect(queue.withTransaction(tx).add('bad', { text: '\u0000' })).rejects.toThrow(/data\.text/);
      await queue.withTransaction(tx).add('good', 1);
    });
    expect(await queue.count('waiting')).toBe(1);
    expect(() => queue.withTransaction(undefined as never)).toThrow(/tx/);
  });
});

/** Jobs that are added and settled inside the app's transactions, beside what happens outside of them. */
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FlowProducer, type Job, LeaseLostError, PgStore } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const { database, queue: newQueue, worker: newWorker } = usePlayground();

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

/** Until somebody waits for a lock that another session holds. */
const somebodyWaits = () =>
  until(
    async () =>
      (
        await database.sql`select 1 from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock' and query like '%conveyor: settle%'`
      ).length > 0,
    { what: 'somebody to wait for the transaction' },
  );

describe('completing in a transaction', () => {
  const write = (tx: Transaction, who: string) => tx.execute(`insert into effects values ('${who}')`);
  const effects = async (who: string) =>
    (await database.sql`select count(*)::int as n from effects where who = ${who}`)[0]?.['n'];

  it('counts the transaction that commits, not those before it', async () => {
    const queue = newQueue(store);
    newWorker(queue, store, async (job) => {
      const attempt = (n: number) =>
        db.transaction(async (tx) => {
          await write(tx, job.id);
          await job.completeIn(tx, n);
          if (n < 3) throw new RolledBack();
        });
      for (const n of [1, 2]) await expect(attempt(n)).rejects.toThrow(RolledBack);
      await attempt(3);
    });
    const job = await queue.add('thrice', null);
    expect(await job.waitUntilFinished(10_000)).toBe(3);
    expect(await effects(job.id)).toBe(1);
  });

  it('says when the job was completed, not when its transaction began', async () => {
    const queue = newQueue(store);
    newWorker(queue, store, (job) =>
      db.transaction(async (tx) => {
        await untilOld(tx);
        await job.completeIn(tx, 'slowly');
      }),
    );
    const job = await queue.add('slow', null);
    await job.waitUntilFinished(10_000);
    const [row] = await database.sql`
      select completed_at - processed_at >= interval '50 ms' as whole from conveyor_jobs where id = ${job.id}`;
    expect(row).toEqual({ whole: true });
  });

  it('holds when the handler throws after the commit', async () => {
    const queue = newQueue(store);
    newWorker(queue, store, async (job) => {
      await db.transaction(async (tx) => {
        await write(tx, job.id);
        await job.completeIn(tx, 'done');
      });
      throw new Error('too late');
    });
    const job = await queue.add('throws', null, { attempts: 3 });
    expect(await job.waitUntilFinished(10_000)).toBe('done');
    expect(await effects(job.id)).toBe(1);
    expect(await queue.getJob(job.id)).toMatchObject({ state: 'completed', attemptsMade: 0 });
  });

  it('waits for a transaction that the handler did not wait for', async () => {
    const queue = newQueue(store);
    const mayCommit = deferred();
    const called = deferred();
    newWorker(queue, store, async (job) => {
      void db.transaction(async (tx) => {
        await write(tx, job.id);
        await job.completeIn(tx, 'behind its back');
        called.resolve();
        await mayCommit.promise;
      });
      await called.promise;
      return 'returned';
    });
    const job = await queue.add('hasty', null);
    await somebodyWaits();
    mayCommit.resolve();
    expect(await job.waitUntilFinished(10_000)).toBe('behind its back');
    expect(await effects(job.id)).toBe(1);
  });

  it('lets the parent of a flow run by the commit, and not before', async () => {
    const queue = newQueue(store);
    const mayCommit = deferred();
    const called = deferred();
    const ran: string[] = [];
    newWorker(queue, store, async (job) => {
      ran.push(job.name);
      if (job.name === 'parent') return job.getChildrenValues();
      await db.transaction(async (tx) => {
        await job.completeIn(tx, 'of the child');
        called.resolve();
        await mayCommit.promise;
      });
      return undefined;
    });
    const flow = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: queue.name,
      data: null,
      children: [{ name: 'child', queueName: queue.name, data: null }],
    });
    await called.promise;
    const parent = (await queue.getJob(flow.job.id)) as Job;
    expect(parent.state).toBe('waiting-children');
    mayCommit.resolve();
    expect(await parent.waitUntilFinished(10_000)).toEqual({ [flow.children![0]!.job.id]: 'of the child' });
    expect(ran).toEqual(['child', 'parent']);
  });

  it('rolls back with LeaseLostError when another worker has the job by now', async () => {
    const queue = newQueue(store);
    const taken = deferred();
    const refused = deferred<unknown>();
    let runs = 0;
    const run = async (job: Job<unknown>) => {
      if (++runs > 1) {
        taken.resolve();
        return 'the second one';
      }
      await database.sql`update conveyor_jobs set lock_until = now() - interval '1 hour' where id = ${job.id}`;
      await taken.promise;
      await db
        .transaction(async (tx) => {
          await write(tx, job.id);
          await job.completeIn(tx, 'the first one');
        })
        .catch(refused.resolve);
      return 'ignored';
    };
    // The lease is not renewed in time, and the other worker sweeps all the time.
    const first = newWorker(queue, store, run as never, { lockDuration: 600_000 });
    first.on('error', () => {});
    const job = await queue.add('stolen', null);
    await until(() => runs === 1);
    newWorker(queue, store, run as never, { stalledInterval: 50 });
    expect(await refused.promise).toBeInstanceOf(LeaseLostError);
    expect(await job.waitUntilFinished(10_000)).toBe('the second one');
    expect(await effects(job.id)).toBe(0);
    await first.close();
  });

  it('is for the job of a running handler only', async () => {
    const queue = newQueue(store);
    let kept: Job<unknown> | undefined;
    newWorker(queue, store, (job) => {
      kept = job as Job<unknown>;
    });
    const job = await queue.add('over', null);
    await job.waitUntilFinished(10_000);
    for (const outside of [job, kept as Job<unknown>]) {
      await db.transaction(async (tx) => {
        await expect(outside.completeIn(tx, 1)).rejects.toMatchObject({ code: 'NOT_IN_HANDLER' });
        await expect(outside.failIn(tx, new Error('no'))).rejects.toMatchObject({ code: 'NOT_IN_HANDLER' });
      });
    }
  });

  it('says in the transaction that the result is too large, so that it rolls back', async () => {
    const queue = newQueue(store);
    newWorker(queue, store, async (job) => {
      await db.transaction(async (tx) => {
        await write(tx, job.id);
        await job.completeIn(tx, 'x'.repeat(11 * 1024 * 1024));
      });
    });
    const job = await queue.add('large', null);
    await expect(job.waitUntilFinished(20_000)).rejects.toThrow(/larger|too large|bytes/i);
    expect(await effects(job.id)).toBe(0);
  });
});

describe('a write to the job after completeIn', () => {
  it('is refused while the transaction is open, instead of waiting for it', async () => {
    const queue = newQueue(store);
    const refused: unknown[] = [];
    newWorker(queue, store, (job) =>
      db.transaction(async (tx) => {
        await job.completeIn(tx, 'done');
        const writes = [() => job.updateProgress(50), () => job.log('late'), () => job.updateData('late')];
        for (const write of writes) refused.push(await write().catch((error: unknown) => error));
      }),
    );
    const job = await queue.add('work', 'data');
    expect(await job.waitUntilFinished()).toBe('done');
    expect(refused).toEqual([1, 2, 3].map(() => expect.objectContaining({ code: 'SETTLED_IN_TRANSACTION' })));
    expect(await queue.getJob(job.id)).toMatchObject({ progress: 0, logs: [], data: 'data' });
  });

  it('is allowed after it has rolled back', async () => {
    const queue = newQueue(store);
    newWorker(queue, store, async (job) => {
      await db
        .transaction(async (tx) => {
          await job.completeIn(tx, 'done');
          throw new RolledBack();
        })
        .catch(() => {});
      await job.updateProgress(50);
    });
    const job = await queue.add('work', 'data');
    await expect(job.waitUntilFinished()).rejects.toThrow(/did not commit/);
    expect(await queue.getJob(job.id)).toMatchObject({ progress: 50 });
  });
});

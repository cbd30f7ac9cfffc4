/** Several installations in one database, each in a Postgres schema of its own. */
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, describe, expect, it } from 'vitest';
import {
  FlowProducer,
  migrate,
  PgStore,
  type PgStoreOptions,
  Queue,
  type StoreEvent,
  Worker,
} from '../../src/index.js';
import { defineConveyor } from '../../src/schema/index.js';
import { useDatabase } from '../support/database.js';
import { until } from '../support/until.js';

// Without tables in public: a name that is not qualified would find nothing.
const database = useDatabase({ empty: true });
const closing: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

async function connected(options: Partial<PgStoreOptions>): Promise<PgStore> {
  const store = new PgStore({ connection: database.url, ...options });
  closing.push(() => store.disconnect());
  await store.connect();
  return store;
}

const ODD = `my "odd" jobs'`;

describe.each(['jobs', ODD])('in the schema %s', (schema) => {
  it('does everything there and nothing elsewhere', async () => {
    const store = await connected({ schema, metrics: { enabled: true } });
    const queue = new Queue<unknown>('tour', { store });
    const worker = new Worker<unknown>(
      'tour',
      async (job) => {
        if (job.name === 'fails') throw new Error('on purpose');
        await job.updateProgress(50);
        await job.log('a line');
        return job.name === 'parent' ? job.getChildrenValues() : job.data;
      },
      { store, concurrency: 4, group: { concurrency: 1 }, limiter: { max: 1_000, duration: 1_000 } },
    );
    closing.push(() => worker.close());

    expect(await (await queue.add('plain', 1)).waitUntilFinished(10_000)).toBe(1);
    const grouped = await queue.addBulk([
      { name: 'grouped', data: 2, opts: { group: { id: 'g', maxSize: 5 } } },
      { name: 'keyed', data: 3, opts: { deduplication: { key: 'k', ttl: 1 } } },
      { name: 'lifo', data: 4, opts: { lifo: true, delay: 1 } },
    ]);
    for (const job of grouped) await job.waitUntilFinished(10_000);
    const failing = await queue.add('fails', null, { attempts: 2, backoff: { type: 'fixed', delay: 1 } });
    await expect(failing.waitUntilFinished(10_000)).rejects.toThrow('on purpose');
    await queue.retryJobs();
    await until(async () => (await queue.count('failed')) === 1);
    const flow = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: 'tour',
      data: null,
      children: [{ name: 'child', queueName: 'tour', data: 5, opts: { removeOnComplete: true } }],
    });
    const parent = await queue.getJob(flow.job.id);
    expect(Object.values((await parent?.waitUntilFinished(10_000)) as object)).toEqual([5]);
    await queue.every('1 hour', 'tick', 6);
    expect(await queue.getSchedules()).toHaveLength(1);
    await queue.pause({ jobName: 'plain' });
    expect(await store.getPausedJobNames('tour')).toEqual(['plain']);
    await queue.resume({ jobName: 'plain' });
    await store.aggregateMetrics();
    const range = { from: new Date(0), to: new Date('2100-01-01') };
    expect((await store.getMetrics('tour', { granularity: 'minute', ...range })).length).toBeGreaterThan(0);
    expect((await store.listQueues()).map(({ name }) => name)).toEqual(['tour']);
    expect((await store.searchJobs({ name: 'plain' })).total).toBe(1);
    expect(await store.searchByPayload('tour', '5')).toBeDefined();
    expect(await store.listFlowParents()).toHaveLength(1);
    await worker.close();

    const client = postgres(database.url, { max: 1, onnotice: () => {} });
    const { conveyorJobs } = defineConveyor(schema);
    const rows = await drizzle({ client }).select().from(conveyorJobs).where(eq(conveyorJobs.name, 'plain'));
    expect(rows).toMatchObject([{ queueName: 'tour', state: 'completed', returnvalue: 1 }]);
    await client.end();

    await queue.clean('completed', 0);
    await queue.obliterate({ force: true });
    await store.truncateAll();
    expect(await store.listQueues()).toEqual([]);
    expect(await database.sql`select to_regclass('public.conveyor_jobs') as none`).toEqual([{ none: null }]);
  });

  it('works in the app’s transactions', async () => {
    const client = postgres(database.url, { max: 3, onnotice: () => {} });
    const db = drizzle({ client });
    closing.push(() => client.end({ timeout: 1 }));
    const store = await connected({ connection: undefined, db, schema } as never);
    const queue = new Queue<number>('transactions', { store });
    const worker = new Worker<number>(
      'transactions',
      (job) => db.transaction((tx) => job.completeIn(tx, job.data * 2)),
      { store },
    );
    closing.push(() => worker.close());
    const job = await db.transaction((tx) => queue.withTransaction(tx).add('double', 21));
    expect(await job.waitUntilFinished(10_000)).toBe(42);
    await worker.close();
  });
});

describe('two installations', () => {
  it('share neither jobs nor what is said of them', async () => {
    const stores = [await connected({}), await connected({ schema: 'one' }), await connected({ schema: 'two' })];
    const heard: StoreEvent[][] = stores.map(() => []);
    const bells = stores.map(() => 0);
    for (const [i, store] of stores.entries()) {
      store.subscribe('shared', (event) => heard[i]?.push(event));
      store.engine.notifier.onWake('shared', () => {
        bells[i]!++;
      });
    }
    // Told by other processes: notifications do reach those whom they are meant for.
    const others = [await connected({}), await connected({ schema: 'one' }), await connected({ schema: 'two' })];
    for (const [i, store] of others.entries()) {
      await new Queue<number>('shared', { store }).add(`of ${i}`, i, { jobId: `job-${i}` });
    }
    await until(() => bells.every((count) => count > 0), { what: 'each to hear of its own job' });
    for (const [i, events] of heard.entries()) expect(events.map(({ jobId }) => jobId)).toEqual([`job-${i}`]);

    const ran: string[] = [];
    const worker = new Worker('shared', async (job) => void ran.push(job.name), { store: stores[1] as PgStore });
    closing.push(() => worker.close());
    await until(async () => (await (stores[1] as PgStore).countJobs('shared', 'completed')) === 1);
    expect(ran).toEqual(['of 1']);
    expect(await (stores[2] as PgStore).countJobs('shared', 'waiting')).toBe(1);
  });

  it('migrate without waiting for each other', async () => {
    const blocker = await database.sql.reserve();
    await blocker`create schema blocked`;
    await blocker`begin`;
    await blocker`create table blocked.conveyor_schedules ()`;
    const waiting = migrate({ connection: database.url, schema: 'blocked' });
    await until(
      async () =>
        (
          await database.sql`select 1 from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%conveyor_jobs%'`
        ).length > 0,
      { what: 'the one to wait' },
    );
    expect((await migrate({ connection: database.url, schema: 'free' })).applied).not.toEqual([]);
    await blocker`rollback`;
    blocker.release();
    expect((await waiting).applied).not.toEqual([]);
  });

  it('needs no right to make schemas once its own is there', async () => {
    await migrate({ connection: database.url, schema: 'plain' });
    const role = `plain_${process.pid}_${Date.now()}`;
    await database.sql.unsafe(`create role ${role} login password 'plain'`);
    await database.sql.unsafe(`grant usage on schema plain to ${role}`);
    await database.sql.unsafe(`grant all on all tables in schema plain to ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'plain';
    expect(await migrate({ connection: url.href, schema: 'plain' })).toEqual({ applied: [], adopted: [] });
    await database.sql.unsafe(`drop owned by ${role}`);
    await database.sql.unsafe(`drop role ${role}`);
  });
});

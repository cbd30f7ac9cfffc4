/** A store on an app's Drizzle database: run once per driver and major, on the packed package. Says what it proved. */
import assert from 'node:assert/strict';
import { FlowProducer, type Job, LeaseLostError, PgStore, Queue, type StoreEvent, Worker } from '@conveyor/store-pg';
import { conveyorJobs } from '@conveyor/store-pg/schema';
import { and, eq } from 'drizzle-orm';
import { type Database, drivers, rowsOf, sql } from './open.js';

const driver = process.env['DRIVER']!;
const url = process.env['DATABASE_URL']!;
/** PGlite is one backend in this process: there is nobody else to listen, and nothing to connect to. */
const alone = driver === 'PGlite';
const quiet = { debug() {}, info() {}, warn: console.error, error: console.error };

const opened = await drivers[driver]!(url);
const { db } = opened;
const before = opened.settings();
const readings = () => rowsOf(db, sql`select 7::bigint, now()::date = now()::date, '{"a": 1}'::jsonb, 1.5::float8`);
const readBefore = await readings();

async function proves(what: string, check: () => Promise<void>): Promise<void> {
  await check();
  console.log(JSON.stringify(what));
}

const store = new PgStore({ db, logger: quiet, listen: listenOption() });
const queue = new Queue<unknown>('scenario', { store });
const flows = new FlowProducer({ store });

function listenOption(): boolean | string {
  if (alone) return false;
  return driver.startsWith('postgres.js') ? true : url;
}

const handlers = new Map<string, (job: Job) => Promise<unknown>>();
let worker: Worker<unknown>;

// Somebody elsewhere who hears what is announced, and by whom jobs would be run.
const elsewhere = new PgStore(alone ? { db, logger: quiet, listen: false } : { connection: url, logger: quiet });
const heard: StoreEvent[] = [];

class RolledBack extends Error {}
/** Runs the work in a transaction that does not commit. */
async function rolledBack(work: (tx: Database) => Promise<unknown>, on: Database = db): Promise<void> {
  await assert.rejects(
    on.transaction(async (tx: Database) => {
      await work(tx);
      throw new RolledBack();
    }),
    RolledBack,
  );
}

const isThere = async (id: string) => (await queue.getJob(id)) !== null;
/** A job's result, in whatever way it ends. */
const ended = (job: Job) => job.waitUntilFinished(20_000);

await proves('connects and migrates', async () => {
  await store.connect();
  await elsewhere.connect();
  elsewhere.subscribe('scenario', (event) => heard.push(event));
  worker = new Worker<unknown>(
    'scenario',
    async (job) => (handlers.has(job.name) ? handlers.get(job.name)!(job) : job.data),
    { store, concurrency: 2 },
  );
  worker.on('error', (error) => console.error(error));
});

const values: unknown[] = [
  null,
  false,
  true,
  0,
  -1.5,
  1e21,
  '',
  '10.5',
  '"quoted" \\back\\',
  'null',
  '{"not":"parsed"}',
  'Zürich 🚲 — 東京',
  [],
  {},
  [1, ['2', [true, null]]],
  { a: { b: [{ c: '10.5' }] }, 'snake_case and camelCase': 1, $1: '$2' },
];

await proves('carries every value there and back', async () => {
  const jobs = await queue.addBulk(values.map((value) => ({ name: 'echo', data: value })));
  for (const [i, job] of jobs.entries()) {
    assert.deepEqual(await ended(job), values[i]);
    assert.deepEqual((await queue.getJob(job.id))?.data, values[i]);
  }
});

await proves('reads job rows through Drizzle', async () => {
  const nested = { a: [1, { b: 'x' }], text: '10.5' };
  const job = await queue.add('row', nested, { priority: 3, attempts: 2, backoff: { type: 'fixed', delay: '5s' } });
  await ended(job);
  const [row] = await db.select().from(conveyorJobs).where(eq(conveyorJobs.id, job.id));
  assert.equal(row.name, 'row');
  assert.equal(row.state, 'completed');
  // An app that made the driver read jsonb, floats and times its own way reads ours that way, too.
  if (driver.endsWith('of the app')) return;
  assert.deepEqual(row.data, nested);
  assert.deepEqual(row.returnvalue, nested);
  assert.deepEqual(row.opts, { priority: 3, attempts: 2, backoff: { type: 'fixed', delay: '5s' } });
  assert.deepEqual(row.attemptLogs, []);
  assert.equal((await queue.getJob(job.id))?.attemptLogs[0]?.status, 'completed');
  assert.deepEqual([row.failedReason, row.failedAt, row.lockedBy], [null, null, null]);
  assert.deepEqual([row.priority, row.progress, typeof row.seq], [3, 0, 'number']);
  assert.ok(row.createdAt instanceof Date && row.completedAt instanceof Date);
  assert.equal(row.createdAt.getTime(), job.createdAt.getTime());
  const found = await db
    .select({ id: conveyorJobs.id })
    .from(conveyorJobs)
    .where(and(eq(conveyorJobs.state, 'completed'), sql`${conveyorJobs.data}->'a'->1->>'b' = 'x'`));
  assert.deepEqual(found, [{ id: job.id }]);
});

await proves('rolls back: no job, no event, no doorbell', async () => {
  // Nobody works on this queue: all that is heard of it comes from these transactions.
  const still = new Queue<unknown>('still', { store });
  const said: string[] = [];
  elsewhere.subscribe('still', (event) => said.push(`${event.type} ${event.jobId}`));
  const silence = elsewhere.engine.notifier.onWake('still', () => said.push('bell'));
  const ids: string[] = [];
  await rolledBack(async (tx) => {
    ids.push((await still.withTransaction(tx).add('a', 'rolled back')).id);
    ids.push(...(await still.withTransaction(tx).addBulk([{ name: 'a', data: 1 }])).map(({ id }) => id));
    const children = [{ name: 'a', queueName: 'still', data: 2 }];
    const tree = await flows.withTransaction(tx).add({ name: 'a', queueName: 'still', data: 1, children });
    ids.push(tree.job.id, tree.children![0]!.job.id);
  });
  assert.equal(ids.length, 4);
  for (const id of ids) assert.equal(await still.getJob(id), null);
  const { id } = await db.transaction((tx: Database) => still.withTransaction(tx).add('a', 'committed'));
  if (!alone) {
    await until(() => said.includes('bell'));
    assert.deepEqual(said, [`job:waiting ${id}`, 'bell']);
  }
  silence();
  await still.drain();
});

await proves('commits: the job runs', async () => {
  const job = await db.transaction(async (tx: Database) => {
    const added = await queue.withTransaction(tx).add('echo', { committed: true });
    // Over its one connection, PGlite would wait for this transaction.
    if (!alone) assert.equal(await isThere(added.id), false, 'nobody sees it before the commit');
    return added;
  });
  assert.deepEqual(await ended(job), { committed: true });
  if (!alone) await until(() => heard.some((event) => event.jobId === job.id && event.type === 'job:waiting'));
});

await proves('commits and rolls back nested transactions on their own', async () => {
  const { outer, kept, dropped } = await db.transaction(async (tx: Database) => {
    const outer = await queue.withTransaction(tx).add('echo', 'outer');
    const kept = await tx.transaction((inner: Database) => queue.withTransaction(inner).add('echo', 'kept'));
    let dropped = '';
    await rolledBack(async (inner) => {
      dropped = (await queue.withTransaction(inner).add('echo', 'dropped')).id;
    }, tx);
    return { outer, kept, dropped };
  });
  assert.equal(await ended(outer), 'outer');
  assert.equal(await ended(kept), 'kept');
  assert.equal(await isThere(dropped), false);
});

await proves('gives the existing job inside a transaction, which goes on', async () => {
  await queue.pause({ jobName: 'held' });
  const byKey = await queue.add('held', 1, { deduplication: { key: 'same' } });
  const byId = await queue.add('held', 1, { jobId: 'own' });
  const root = {
    name: 'held',
    queueName: 'scenario',
    data: 1,
    opts: { jobId: 'root' },
    children: [{ name: 'held', queueName: 'scenario', data: 2, opts: { jobId: 'child' } }],
  };
  await flows.add(root);
  const after = await db.transaction(async (tx: Database) => {
    const within = queue.withTransaction(tx);
    assert.equal((await within.add('held', 2, { deduplication: { key: 'same' } })).id, byKey.id);
    assert.equal((await within.add('held', 2, { jobId: 'own' })).id, byId.id);
    const bulk = await within.addBulk([
      { name: 'held', data: 2, opts: { deduplication: { key: 'same' } } },
      { name: 'held', data: 3, opts: { jobId: 'own' } },
      { name: 'held', data: 4, opts: { deduplication: { key: 'new' } } },
      { name: 'held', data: 5, opts: { deduplication: { key: 'new' } } },
    ]);
    assert.deepEqual([bulk[0]!.id, bulk[1]!.id, bulk[3]!.id], [byKey.id, byId.id, bulk[2]!.id]);
    assert.equal((await flows.withTransaction(tx).add(root)).job.id, 'root');
    return within.add('echo', 'it goes on');
  });
  assert.equal(await ended(after), 'it goes on');
  assert.equal((await queue.getJob('own'))?.data, 1);
  await queue.drain();
  await queue.resume({ jobName: 'held' });
});

await proves('runs flows that were added in a transaction', async () => {
  handlers.set('sum', async (job) =>
    Object.values(await job.getChildrenValues()).reduce((a: number, b) => a + (b as number), 0),
  );
  const { job } = await db.transaction((tx: Database) =>
    flows.withTransaction(tx).add({
      name: 'sum',
      queueName: 'scenario',
      data: null,
      children: [1, 2, 39].map((data) => ({ name: 'echo', queueName: 'scenario', data })),
    }),
  );
  const parent = await queue.getJob(job.id);
  assert.equal(await ended(parent!), 42);
});

await proves('completes and fails jobs in the transaction of their handlers', async () => {
  await db.execute(sql`create table effects (job text not null)`);
  const effects = async (id: string) => (await rowsOf(db, sql`select 1 from effects where job = ${id}`)).length;
  const write = (tx: Database, job: Job) => tx.execute(sql`insert into effects values (${job.id})`);

  handlers.set('complete', async (job) => {
    await db.transaction(async (tx: Database) => {
      await write(tx, job);
      await job.completeIn(tx, { with: 'the writes' });
    });
    return 'ignored';
  });
  const completed = await queue.add('complete', null);
  assert.deepEqual(await ended(completed), { with: 'the writes' });
  assert.equal(await effects(completed.id), 1);

  handlers.set('fail', async (job) => {
    await db.transaction(async (tx: Database) => {
      await write(tx, job);
      await job.failIn(tx, new Error('with the writes'));
    });
    return 'ignored';
  });
  const failed = await queue.add('fail', null);
  await assert.rejects(ended(failed), /with the writes/);
  assert.equal(await effects(failed.id), 1);

  // It did not commit: the job is not completed, whatever was called and returned.
  handlers.set('not at first', async (job) => {
    if (job.attemptsMade > 0) return 'at last';
    await rolledBack(async (tx) => {
      await write(tx, job);
      await job.completeIn(tx, 'never');
    });
    return 'nor this';
  });
  const retried = await queue.add('not at first', null, { attempts: 2 });
  assert.equal(await ended(retried), 'at last');
  assert.equal(await effects(retried.id), 0);

  // The lease is lost: so are the writes.
  let refused: unknown;
  handlers.set('lost', async (job) => {
    if (job.attemptsMade === 0 && refused === undefined) {
      await db.execute(sql`update conveyor_jobs set lease = lease + 1 where id = ${job.id}`);
      await db
        .transaction(async (tx: Database) => {
          await write(tx, job);
          await job.completeIn(tx, 'never');
        })
        .catch((error: unknown) => {
          refused = error;
        });
      await db.execute(sql`update conveyor_jobs set lease = lease - 1 where id = ${job.id}`);
    }
    return 'done';
  });
  const lost = await queue.add('lost', null);
  await until(() => refused !== undefined);
  assert.ok(causes(refused).some((error) => error instanceof LeaseLostError));
  assert.equal(await effects(lost.id), 0);
  await ended(lost).catch(() => {});
});

await proves('keeps the limits of groups and of queues', async () => {
  const crowd = new Queue<unknown>('crowd', { store });
  for (const limits of [{ group: { concurrency: 1 } }, { limiter: { max: 1_000, duration: 1_000 } }]) {
    const running: string[] = [];
    let most = 0;
    const own = new Worker<unknown>(
      'crowd',
      async (job) => {
        running.push(job.groupId!);
        most = Math.max(most, running.length);
        assert.ok(!('group' in limits) || new Set(running).size === running.length, `${running} at once`);
        await until(() => most === 2);
        running.splice(running.indexOf(job.groupId!), 1);
        return job.groupId;
      },
      { store, concurrency: 10, maxGlobalConcurrency: 2, ...limits },
    );
    const groups = ['a', 'a', 'b', 'b', 'c'];
    const jobs = await crowd.addBulk(groups.map((id) => ({ name: 'one', data: null, opts: { group: { id } } })));
    for (const [i, job] of jobs.entries()) assert.equal(await ended(job), groups[i]);
    await own.close();
    assert.equal(most, 2);
  }
});

await proves('leaves the app its connections', async () => {
  if (alone) return;
  const [row] = await rowsOf(
    db,
    sql`select count(*)::text from pg_stat_activity
      where datname = current_database() and backend_type = 'client backend' and application_name in ('app', '')`,
  );
  const listens = driver.startsWith('postgres.js') ? 1 : 0;
  assert.ok(Number(row![0]) <= opened.max + listens, `${row![0]} connections`);
});

await proves('leaves the client open, and its parsers as they were', async () => {
  await worker.close();
  await elsewhere.disconnect();
  await store.disconnect();
  assert.deepEqual(await readings(), readBefore);
  // postgres.js itself learns the array types of tables that were made meanwhile.
  const now = opened.settings();
  for (const [name, setting] of before) assert.ok(now.get(name) === setting, `${name} was changed`);
  // Connected again, it still works.
  await store.connect();
  assert.equal(await queue.count('waiting'), 0);
  await store.disconnect();
  await opened.end();
});

function causes(error: unknown): unknown[] {
  const all: unknown[] = [];
  for (let e = error; e !== undefined && all.length < 5; e = (e as Error).cause) all.push(e);
  return all;
}

/** As in support/until.ts, which is not part of the app that this script runs in. */
async function until(fact: () => boolean): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!fact()) {
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${fact}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

import { describe, expect, it } from 'vitest';
import { FlowProducer, type Job, LeaseLostError } from '../../src/index.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { countStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

/** A worker with one job, whose handler ends when the test resolves `release`. */
async function running(opts = {}) {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred<unknown>();
  const worker = play.worker(queue, store, () => release.promise);
  const heard = record(worker);
  const job = await queue.add('work', null, opts);
  await until(() => heard.active.length === 1);
  return { store, queue, worker, heard, job, release };
}

describe.each([{}, { removeOnComplete: true }])(
  'a worker that finishes while another takes its job away (%j)',
  (opts) => {
    const takeAway = `update conveyor_jobs set state = 'waiting', lease = lease + 1, locked_by = null, lock_until = null`;

    it('writes nothing when that is committed', async () => {
      const { worker, heard, job, release } = await running(opts);
      const sweeper = await openTransaction(play.database.sql);
      await sweeper.sql.unsafe(`${takeAway} where id = '${job.id}'`);
      release.resolve('stale');
      await untilWaiting(play.database.sql);
      await worker.pause();
      await sweeper.commit();
      await until(() => heard.errors.length === 1);
      expect(heard).toMatchObject({ completed: [], failed: [], errors: [expect.any(LeaseLostError)] });
      expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', returnvalue: null, attempt_logs: [] });
    });

    it('finishes it when that is rolled back', async () => {
      const { heard, job, release } = await running(opts);
      const sweeper = await openTransaction(play.database.sql);
      await sweeper.sql.unsafe(`${takeAway} where id = '${job.id}'`);
      const waiting = job.waitUntilFinished();
      release.resolve('in time');
      await untilWaiting(play.database.sql);
      await sweeper.rollback();
      expect(await waiting).toBe('in time');
      expect(heard.errors).toEqual([]);
    });
  },
);

it.each([{}, { removeOnComplete: true }, { removeOnFail: true }])(
  'a job that is cancelled while its success is written ends failed, and once (%j)',
  async (opts) => {
    const { queue, heard, job, release } = await running(opts);
    const canceller = await openTransaction(play.database.sql);
    await canceller.sql`update conveyor_jobs set cancelled_at = now() where id = ${job.id}`;
    release.resolve('done');
    await untilWaiting(play.database.sql);
    await canceller.commit();
    await until(() => heard.failed.length === 1);
    expect(heard.completed).toEqual([]);
    const row = await queue.getJob(job.id);
    if ('removeOnFail' in opts) expect(row).toBeNull();
    else expect(row).toMatchObject({ state: 'failed', failedReason: 'Job cancelled', returnvalue: null });
  },
);

it('a job that is discarded while its failure is written is not tried again', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const heard = record(play.worker(queue, store, () => release.promise));
  const job = await queue.add('work', null, { attempts: 3, removeOnFail: true });
  await until(() => heard.active.length === 1);
  const discarder = await openTransaction(play.database.sql);
  await discarder.sql`update conveyor_jobs set discarded = true where id = ${job.id}`;
  release.reject(new Error('once'));
  await untilWaiting(play.database.sql);
  await discarder.commit();
  await until(() => heard.failed.length === 1);
  expect(heard.failed[0]?.state).toBe('failed');
  expect(await rowOf(play, job)).toBeUndefined();
});

it('a job whose parent somebody has locked waits for him alone; the others of its worker are settled', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise, { concurrency: 20 });
  const heard = record(worker);
  const { job: parent, children } = await new FlowProducer({ store }).add({
    name: 'parent',
    queueName: queue.name,
    data: null,
    children: [{ name: 'child', queueName: queue.name, data: null }],
  });
  const others = await queue.addBulk(Array.from({ length: 10 }, (_, data) => ({ name: 'work', data })));
  await until(() => heard.active.length === 11);
  const app = await openTransaction(play.database.sql);
  await app.sql`select 1 from conveyor_jobs where id = ${parent.id} for update`;
  release.resolve();
  await until(async () => (await queue.count('completed')) === others.length);
  // From now on it is on its own: what ends meanwhile does not even wait for its batch.
  await untilWaiting(play.database.sql);
  const child = (await queue.getJob(children?.[0]?.job.id ?? '')) as Job;
  expect(child.state).toBe('active');
  for (let i = 0; i < 20; i++) await (await queue.add('work', i)).waitUntilFinished();
  await app.commit();
  await child.waitUntilFinished();
  expect(heard.errors).toEqual([]);
  expect(play.said).toEqual([]);
});

it('a parent that can run is told of, although another one keeps the rest of the batch waiting', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const parents = play.queue(store);
  const release = deferred();
  const heard = record(play.worker(queue, store, () => release.promise, { concurrency: 2 }));
  const flow = { name: 'parent', queueName: parents.name, data: null };
  const children = [{ name: 'child', queueName: queue.name, data: null }];
  const [free, locked] = [
    await new FlowProducer({ store }).add({ ...flow, children }),
    await new FlowProducer({ store }).add({ ...flow, children }),
  ];
  await until(() => heard.active.length === 2);
  const ready: unknown[] = [];
  store.subscribe(parents.name, ({ type, jobId }) => void ready.push([type, jobId]));
  const app = await openTransaction(play.database.sql);
  await app.sql`select 1 from conveyor_jobs where id = ${locked.job.id} for update`;
  // It takes the second statement of the batch, which has to wait for its parent.
  const cancelled = locked.children?.[0]?.job.id ?? '';
  await play.database.sql`update conveyor_jobs set cancelled_at = now() where id = ${cancelled}`;
  release.resolve();
  await until(() => heard.completed.length === 1);
  expect(ready).toEqual([['job:waiting', free.job.id]]);
  await app.commit();
  await until(() => heard.failed.length === 1);
  expect(heard.errors).toEqual([]);
});

it.each([
  ['one that waits for a locked parent does not give up', 1, 12],
  ['however many wait for a locked parent, they take up one connection', 6, 12],
])('%s', async (_, waiters, settlements) => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const run = ({ name }: Job<unknown>) => (name === 'child' ? release.promise : undefined);
  const heard = record(play.worker(queue, store, run, { concurrency: 10, lockDuration: 1_000 }));
  const children = Array.from({ length: waiters }, () => ({ name: 'child', queueName: queue.name, data: null }));
  const flow = { name: 'parent', queueName: queue.name, data: null, children };
  const { job: parent } = await new FlowProducer({ store }).add(flow);
  await until(() => heard.active.length === waiters);
  const app = await openTransaction(play.database.sql);
  await app.sql`select 1 from conveyor_jobs where id = ${parent.id} for update`;
  const { count } = countStatements(store);
  release.resolve();
  await until(() => count(/^(settle|complete)\b/) > settlements);
  const waiting: number[] = [];
  for (let i = 0; i < 20; i++) {
    await (await queue.add('work', i)).waitUntilFinished();
    const rows = await play.database.sql`
      select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    waiting.push(rows.length);
  }
  expect(Math.max(...waiting)).toBeLessThanOrEqual(1);
  await app.commit();
  await until(() => heard.completed.length === waiters + 20 + 1);
  expect(heard.errors).toEqual([]);
  expect(play.said).toEqual([]);
});

it('a renewal passes over a job that is just being settled', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise, { lockDuration: 300 });
  const heard = record(worker);
  const statements = countStatements(store);
  const job = await queue.add('work', null);
  await until(() => heard.active.length === 1);
  const holder = await openTransaction(play.database.sql);
  await holder.sql`select 1 from conveyor_jobs where id = ${job.id} for update`;
  // Renewals that are answered when the lease has run out in the table have passed over the job.
  await until(async () => ((await rowOf(play, job))?.['lock_until'] as Date) < new Date());
  const renewals = statements.answered('renew');
  await until(() => statements.answered('renew') >= renewals + 2);
  expect(heard.errors).toEqual([]);
  await holder.commit();
  const before = (await rowOf(play, job))?.['lock_until'] as Date;
  await until(async () => ((await rowOf(play, job))?.['lock_until'] as Date) > before);
  release.resolve();
  await job.waitUntilFinished();
});

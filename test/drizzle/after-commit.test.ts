/** What a worker makes of an attempt that its handler has ended in a transaction, whatever became of the job since. */
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FlowProducer, type Job, LeaseLostError, NotCommittedError, PgStore, type Queue } from '../../src/index.js';
import { record, usePlayground } from '../support/playground.js';
import { countStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const { database, open, queue: newQueue, worker: newWorker } = usePlayground();

let client: postgres.Sql;
let db: ReturnType<typeof drizzle>;
let store: PgStore;

beforeAll(async () => {
  client = postgres(database.url, { max: 10, onnotice: () => {} });
  db = drizzle({ client });
  store = new PgStore({ db, autoMigrate: false });
  await store.connect();
});
afterAll(async () => {
  await store.disconnect();
  await client.end({ timeout: 1 });
});

class RolledBack extends Error {}

/** Calls the work in a transaction that does not commit. */
async function rolledBack(work: (tx: never) => Promise<unknown>): Promise<void> {
  const over = db.transaction(async (tx) => {
    await work(tx as never);
    throw new RolledBack();
  });
  await expect(over).rejects.toThrow(RolledBack);
}

/** One handler that goes on after its transaction until it may return. */
function staying(work: (job: Job<unknown>) => Promise<unknown>) {
  const committed = deferred();
  const mayReturn = deferred();
  const signal = deferred<AbortSignal>();
  const run = async (job: Job<unknown>, given: AbortSignal) => {
    signal.resolve(given);
    await work(job);
    committed.resolve();
    await mayReturn.promise;
  };
  return { run: run as never, committed: committed.promise, mayReturn, signal: signal.promise };
}

const MARK = 12_345;

/** The wake-ups that other processes get from now on: at once (null), or in so many ms. */
async function bellsOf(queue: Queue): Promise<(number | null)[]> {
  const elsewhere = await open();
  const all: (number | null)[] = [];
  const told: (number | null)[] = [];
  elsewhere.engine.notifier.onWake(queue.name, (dueIn) => (dueIn === MARK ? all : told).push(dueIn));
  // Until it listens.
  await until(() => {
    store.engine.notifier.wake(queue.name, MARK);
    return all.length > 0;
  });
  return told;
}

describe('a retry that failIn has committed', () => {
  it('has failed for the worker that committed it, also when it runs elsewhere by then', async () => {
    const queue = newQueue(store);
    const first = staying((job) => db.transaction((tx) => job.failIn(tx, new Error('not yet'))));
    const worker = newWorker(queue, store, first.run);
    const heard = record(worker);
    const job = await queue.add('twice', null, { attempts: 2 });
    await first.committed;
    await worker.pause();
    const second = deferred();
    newWorker(queue, store, async (again) => {
      expect(again.attemptsMade).toBe(1);
      await second.promise;
      return 'the second time';
    });
    await until(async () => (await queue.getJob(job.id))?.state === 'active');
    first.mayReturn.resolve();
    await until(() => heard.retrying.length + heard.errors.length > 0);
    expect(heard.errors).toEqual([]);
    expect(heard.retrying).toMatchObject([{ id: job.id, error: { message: 'not yet' }, state: 'waiting' }]);
    second.resolve();
    expect(await job.waitUntilFinished(10_000)).toBe('the second time');
    expect((await queue.getJob(job.id))?.attemptLogs).toMatchObject([
      { attempt: 1, status: 'failed', error: 'not yet' },
      { attempt: 2, status: 'completed' },
    ]);
  });

  it('has failed for it also when the other one has ended the job', async () => {
    const queue = newQueue(store);
    const first = staying((job) => db.transaction((tx) => job.failIn(tx, new Error('not yet'))));
    const worker = newWorker(queue, store, first.run);
    const heard = record(worker);
    const job = await queue.add('twice', null, { attempts: 2, removeOnComplete: true });
    await first.committed;
    await worker.pause();
    newWorker(queue, store, () => 'gone');
    await until(async () => (await queue.getJob(job.id)) === null);
    first.mayReturn.resolve();
    await until(() => heard.retrying.length + heard.errors.length > 0);
    expect(heard).toMatchObject({ errors: [], failed: [], retrying: [{ id: job.id }] });
  });

  it.each([
    ['to come at once', {}, null],
    ['to come when it is due', { backoff: { type: 'fixed', delay: 50 } }, expect.any(Number)],
  ] as const)('tells workers elsewhere %s, while the handler goes on', async (_, backoff, dueIn) => {
    const queue = newQueue(store);
    const bells = await bellsOf(queue);
    const first = staying(async (job) => {
      await until(() => bells.length > 0, { what: 'the bell of the add' });
      await rolledBack((tx) => job.failIn(tx, new Error('not this one')));
      await db.transaction((tx) => job.failIn(tx, new Error('not yet')));
    });
    const worker = newWorker(queue, store, first.run);
    await queue.add('twice', null, { attempts: 2, ...backoff });
    await first.signal;
    await worker.pause();
    await until(() => bells.length > 1);
    expect(bells).toEqual([null, dueIn]);
    first.mayReturn.resolve();
  });
});

describe('a completion that completeIn has committed', () => {
  const completing = () => staying((job) => db.transaction((tx) => job.completeIn(tx, 'done')));

  it.each([
    ['tells those who run its parent', {}, 'waiting', null],
    ['has them look when its parent is due', { delay: '1 hour' }, 'delayed', 0],
  ])('%s, while the handler goes on', async (_, opts, state, bell) => {
    const [children, parents] = [newQueue(store), newQueue(store)];
    const bells = await bellsOf(parents);
    const child = completing();
    newWorker(children, store, child.run);
    const flow = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: parents.name,
      data: null,
      opts,
      children: [{ name: 'child', queueName: children.name, data: null }],
    });
    await until(() => bells.length > 0);
    expect(bells).toEqual([bell]);
    expect((await parents.getJob(flow.job.id))?.state).toBe(state);
    child.mayReturn.resolve();
  });

  it('tells nobody when nobody can run by it', async () => {
    const queue = newQueue(store);
    const bells = await bellsOf(queue);
    const first = staying(async (job) => {
      await until(() => bells.length > 0, { what: 'the bell of the add' });
      await db.transaction((tx) => job.completeIn(tx, 'done'));
    });
    newWorker(queue, store, first.run);
    await queue.add('alone', null);
    await first.committed;
    // Notifications arrive in the order of their commits.
    await db.transaction((tx) => queue.withTransaction(tx).add('later', null, { delay: 9_999 }));
    await until(() => bells.length > 1);
    expect(bells).toEqual([null, 9_999]);
    first.mayReturn.resolve();
  });

  it('stands while the handler goes on for longer than the lease', async () => {
    const queue = newQueue(store);
    const first = completing();
    const worker = newWorker(queue, store, first.run, { lockDuration: 500 });
    const heard = record(worker);
    const statements = countStatements(store);
    const job = await queue.add('long', null);
    await first.committed;
    statements.reset();
    await until(() => statements.count('renew') >= 3);
    expect((await first.signal).aborted).toBe(false);
    first.mayReturn.resolve();
    await until(() => heard.completed.length + heard.errors.length > 0);
    expect(heard).toMatchObject({ errors: [], completed: [{ id: job.id, result: 'done' }] });
  });

  it.each([
    ['removed', (queue: Queue, id: string) => queue.getJob(id).then((job) => job?.remove())],
    [
      'removed and added again',
      async (queue: Queue, id: string) => {
        await (await queue.getJob(id))?.remove();
        await queue.add('another', null, { jobId: id });
      },
    ],
    ['retried', (queue: Queue) => store.retryJobs(queue.name, 'completed')],
  ])('stands when the job is %s before the handler returns', async (_, change) => {
    const queue = newQueue(store);
    const first = completing();
    const worker = newWorker(queue, store, first.run);
    const heard = record(worker);
    const job = await queue.add('short-lived', null, { jobId: 'own' });
    await first.committed;
    await worker.pause();
    await change(queue, job.id);
    first.mayReturn.resolve();
    await until(() => heard.completed.length + heard.errors.length > 0);
    expect(heard).toMatchObject({ errors: [], completed: [{ id: job.id, result: 'done' }] });
  });
});

describe('without a commit', () => {
  it('failIn throws LeaseLostError when somebody else has the job', async () => {
    const queue = newQueue(store);
    const refused = deferred<unknown>();
    const worker = newWorker(queue, store, async (job) => {
      await database.sql`update conveyor_jobs set lease = lease + 1 where id = ${job.id}`;
      await db
        .transaction(async (tx) => {
          await queue.withTransaction(tx).add('with it', null, { delay: '1 hour' });
          await job.failIn(tx, new Error('never'));
        })
        .catch(refused.resolve);
    });
    const heard = record(worker);
    const job = await queue.add('stolen', null);
    expect(await refused.promise).toBeInstanceOf(LeaseLostError);
    await until(() => heard.errors.length > 0);
    expect(await queue.getJobCounts()).toMatchObject({ active: 1, delayed: 0, failed: 0 });
    expect((await queue.getJob(job.id))?.attemptLogs).toEqual([]);
  });

  it('the same handler may begin the transaction again', async () => {
    const queue = newQueue(store);
    const config = { isolationLevel: 'repeatable read' } as const;
    const refused: unknown[] = [];
    newWorker(queue, store, async (job) => {
      const attempt = (disturb: boolean) =>
        db.transaction(async (tx) => {
          await tx.execute('select 1');
          // As a renewal of the lease does.
          if (disturb) await database.sql`update conveyor_jobs set lock_until = lock_until where id = ${job.id}`;
          await job.completeIn(tx, 'the second time');
        }, config);
      await attempt(true).catch((error) => refused.push(error));
      await attempt(false);
    });
    const job = await queue.add('disturbed', null);
    expect(await job.waitUntilFinished(10_000)).toBe('the second time');
    expect(refused).toMatchObject([{ code: 'PG_40001' }]);
  });

  it('the attempt has failed, also when only the nested transaction was rolled back', async () => {
    const queue = newQueue(store);
    const worker = newWorker(queue, store, async (job) => {
      await db.transaction(async (tx) => {
        await expect(
          tx.transaction(async (inner) => {
            await job.completeIn(inner, 'never');
            throw new RolledBack();
          }),
        ).rejects.toThrow(RolledBack);
        await tx.execute('create table if not exists kept ()');
      });
      return 'nor this';
    });
    const heard = record(worker);
    const job = await queue.add('nested', null);
    await expect(job.waitUntilFinished(10_000)).rejects.toThrow(/did not commit/);
    await until(() => heard.failed.length > 0);
    expect(heard).toMatchObject({ errors: [], failed: [{ error: expect.any(NotCommittedError), state: 'failed' }] });
  });

  it('a lost lease aborts the handler that goes on', async () => {
    const queue = newQueue(store);
    const first = staying((job) => rolledBack((tx) => job.completeIn(tx, 'never')));
    const worker = newWorker(queue, store, first.run, { lockDuration: 600 });
    const heard = record(worker);
    const job = await queue.add('stolen', null);
    await first.committed;
    await worker.pause();
    await database.sql`
      update conveyor_jobs set lease = lease + 1, locked_by = 'somebody', lock_until = now() + interval '1 hour'
      where id = ${job.id}`;
    const signal = await first.signal;
    await until(() => signal.aborted);
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
    first.mayReturn.resolve();
    await worker.close();
    expect(heard).toMatchObject({ errors: [expect.any(LeaseLostError)], completed: [], failed: [] });
  });

  it.each([
    ['somebody else has the job', 'update conveyor_jobs set lease = lease + 1'],
    ['the job is gone', 'delete from conveyor_jobs'],
  ])('the lease is lost when %s', async (_, change) => {
    const queue = newQueue(store);
    const worker = newWorker(queue, store, async (job) => {
      await rolledBack((tx) => job.completeIn(tx, 'never'));
      await database.sql.unsafe(`${change} where id = '${job.id}'`);
      return 'nor this';
    });
    const heard = record(worker);
    await queue.add('lost', null, { removeOnComplete: true });
    await until(() => heard.errors.length + heard.completed.length > 0);
    expect(heard).toMatchObject({ errors: [expect.any(LeaseLostError)], completed: [], failed: [] });
  });
});

import { describe, expect, it } from 'vitest';
import { ClosedError, Job, JobNotFoundError, Queue, WaitTimeoutError } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { countStatements, onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();
const many = (count: number, opts = {}) => Array.from({ length: count }, (_, data) => ({ name: 'work', data, opts }));

it.each<[string, unknown]>([
  ['a string', 'done'],
  ['a string that looks like a number', '10.5'],
  ['a string that looks like JSON', '{"a":1}'],
  ['an empty string', ''],
  ['false', false],
  ['zero', 0],
  ['null', null],
  ['an object', { deep: [1, { er: 'x' }] }],
  ['more than a notification holds', 'x'.repeat(50_000)],
])('resolves with %s, from a handler that takes no time, here and in another process', async (_name, result) => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const remote = new Queue(queue.name, { store: other });
  play.worker(queue, store, () => result);
  const [near, far] = [await queue.add('work', null), await remote.add('work', null)];
  expect(await Promise.all([near.waitUntilFinished(), far.waitUntilFinished()])).toEqual([result, result]);
  // Long since over.
  expect(await far.waitUntilFinished()).toEqual(result);
});

it('undefined comes back as null', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, () => undefined);
  expect(await (await queue.add('work', null)).waitUntilFinished()).toBeNull();
});

describe('jobs that are removed on completion', () => {
  it('tell their results, here and in another process', async () => {
    const [store, other] = [await play.open(), await play.open()];
    const queue = play.queue<number>(store);
    const remote = new Queue<number>(queue.name, { store: other });
    play.worker(queue, store, (job) => `result ${job.data}`, { concurrency: 10 });
    // A process that has waited before keeps the results of jobs that are gone when it begins to wait.
    for (const one of [queue, remote]) await (await one.add('work', -1)).waitUntilFinished();
    const jobs = [
      ...(await queue.addBulk(many(100, { removeOnComplete: true }))),
      ...(await remote.addBulk(many(100, { removeOnComplete: true }))),
    ];
    const results = await Promise.all(jobs.map((job) => job.waitUntilFinished()));
    for (const [i, result] of results.entries()) expect([`result ${i % 100}`, undefined]).toContain(result);
    expect(results.slice(0, 100)).not.toContain(undefined);
  });

  it('tell them however large they are: nobody could read them any more', async () => {
    const [store, other] = [await play.open(), await play.open()];
    const queue = play.queue(store);
    const result = 'é'.repeat(50_000);
    const job = await queue.add('work', null, { delay: 60_000, removeOnComplete: true });
    const waits = Promise.all([job.waitUntilFinished(), new Job(job.toJSON(), other).waitUntilFinished()]);
    // Both listen by now.
    const channel = `listen "conveyor:${queue.name}"%`;
    await until(async () => {
      const rows = await play.database.sql`select 1 from pg_stat_activity
        where datname = current_database() and query like ${channel} and state = 'idle'`;
      return rows.length === 2;
    });
    play.worker(queue, store, () => result);
    await job.promote();
    for (const told of await waits) expect(told === result).toBe(true);
  });

  it('one after the other, each added when the one before is done', async () => {
    const [store, other] = [await play.open(), await play.open()];
    const queue = play.queue<number>(store, { defaultJobOptions: { removeOnComplete: true } });
    play.worker(queue, other, (job) => `result ${job.data}`);
    await (await queue.add('work', -1)).waitUntilFinished();
    for (let i = 0; i < 50; i++) {
      const job = await queue.add('work', i);
      // By now it may be done and gone.
      if (i % 2) await until(async () => (await queue.getJob(job.id)) === null);
      expect(await job.waitUntilFinished()).toBe(`result ${i}`);
    }
  });

  it.each([
    ['true', true],
    ['0', 0],
  ])('without any news (removeOnComplete: %s) they have completed, with nothing', async (_name, removeOnComplete) => {
    const [store, other] = [await play.open({ listen: false }), await play.open()];
    const queue = play.queue(store);
    play.worker(queue, other, () => 'nobody hears this');
    const job = await queue.add('work', null, { removeOnComplete });
    await until(async () => (await queue.getJob(job.id)) === null);
    expect(await job.waitUntilFinished()).toBeUndefined();
  });

  it('removed by hand they are not found', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null);
    const waiting = expect(job.waitUntilFinished()).rejects.toBeInstanceOf(JobNotFoundError);
    await job.remove();
    await waiting;
    await expect(job.waitUntilFinished()).rejects.toBeInstanceOf(JobNotFoundError);
  });
});

it('rejects with the reason of the failure, also of a job that is removed on failure', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  play.worker(queue, other, () => Promise.reject(new Error('out of luck')));
  for (const removeOnFail of [false, true]) {
    const job = await queue.add('work', null, { removeOnFail });
    await expect(job.waitUntilFinished()).rejects.toMatchObject({ code: 'JOB_FAILED', message: 'out of luck' });
  }
});

it('ends with its time limit, and the job goes on', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred<string>();
  play.worker(queue, store, () => release.promise);
  const job = await queue.add('work', null);
  const error: unknown = await job.waitUntilFinished(100).catch((e) => e);
  expect(error).toBeInstanceOf(WaitTimeoutError);
  expect(String(error)).toContain('timed out after 100ms');
  release.resolve('late');
  expect(await job.waitUntilFinished(60_000)).toBe('late');
});

it('a wait that has ended asks no more', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const [job, other] = [
    await queue.add('work', null, { delay: 60_000 }),
    await queue.add('work', null, { delay: 60_000 }),
  ];
  await expect(job.waitUntilFinished(20)).rejects.toBeInstanceOf(WaitTimeoutError);
  const asked: string[] = [];
  onStatements(store, (name, run, values) => {
    if (name === 'job status') asked.push(String(values['jobs']));
    return run();
  });
  // All waits of a store are asked for together: another one shows when.
  const waiting = other.waitUntilFinished().catch(() => {});
  await until(() => asked.filter((jobs) => jobs.includes(other.id)).length >= 2);
  expect(asked.filter((jobs) => jobs.includes(job.id))).toEqual([]);
  await other.cancel();
  await waiting;
});

it('ends when the store is disconnected', async () => {
  const store = await play.open();
  const job = await play.queue(store).add('work', null, { delay: 60_000 });
  const waiting = expect(job.waitUntilFinished()).rejects.toBeInstanceOf(ClosedError);
  await store.disconnect();
  await waiting;
  await expect(job.waitUntilFinished()).rejects.toBeInstanceOf(ClosedError);
});

it('works without notifications', async () => {
  const [store, other] = [await play.open({ listen: false }), await play.open({ listen: false })];
  const queue = play.queue(store);
  play.worker(queue, other, () => 'seen');
  expect(await (await queue.add('work', null)).waitUntilFinished()).toBe('seen');
});

it('a reading of the tables that fails is not the end of it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { delay: 60_000 });
  let failures = 0;
  onStatements(store, (name, run) => {
    if (name !== 'job status' || failures >= 3) return run();
    failures++;
    return Promise.reject(new Error('no'));
  });
  const waiting = job.waitUntilFinished();
  await play.database.sql`update conveyor_jobs set state = 'completed', returnvalue = '"by hand"' where id = ${job.id}`;
  expect(await waiting).toBe('by hand');
  expect(failures).toBe(3);
});

it('a thousand waits ask with few statements', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk(many(1_000));
  const statements = countStatements(store);
  const waits = Promise.all(jobs.map((job) => job.waitUntilFinished()));
  play.worker(queue, store, () => null, { concurrency: 50 });
  await waits;
  expect(statements.count('job status')).toBeLessThan(20);
});

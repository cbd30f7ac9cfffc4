import { describe, expect, it } from 'vitest';
import { ConnectionError, FlowProducer, type Job } from '../../src/index.js';
import { record, rowOf, untilRenewed, usePlayground } from '../support/playground.js';
import { isSettling, onStatements } from '../support/statements.js';
import { barrier, until } from '../support/until.js';

const play = usePlayground();
const many = (count: number) => Array.from({ length: count }, (_, data) => ({ name: 'work', data }));

describe.each([
  ['refused', () => new Error('refused by the server')],
  ['unreachable', () => new ConnectionError('the database is away')],
])('a settlement that is %s', (_name, error) => {
  it.each([1, 3])('%d time(s) is tried again, and its job runs once', async (times) => {
    const store = await play.open();
    const queue = play.queue(store);
    let failures = 0;
    onStatements(store, (name, run) => {
      if (!isSettling(name) || failures >= times) return run();
      failures++;
      return Promise.reject(error());
    });
    let runs = 0;
    const heard = record(
      play.worker(queue, store, () => {
        runs++;
        return 'done';
      }),
    );
    const job = await queue.add('work', null, { attempts: 5 });
    expect(await job.waitUntilFinished()).toBe('done');
    expect([runs, heard.errors]).toEqual([1, []]);
    expect(await rowOf(play, job)).toMatchObject({ state: 'completed', attempts_made: 0, stalled_count: 0 });
  });
});

it('a failure is as dear as a success: its settlement is tried again too', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let failures = 0;
  onStatements(store, (name, run) =>
    isSettling(name) && failures++ < 2 ? Promise.reject(new ConnectionError('away')) : run(),
  );
  play.worker(queue, store, (job) => (job.attemptsMade === 0 ? Promise.reject(new Error('first')) : 'second'));
  const job = await queue.add('work', null, { attempts: 2 });
  expect(await job.waitUntilFinished()).toBe('second');
  expect((await queue.getJob(job.id))?.attemptLogs.map(({ error }) => error)).toEqual(['first', null]);
});

it('one that the server refuses does not take the others of its batch with it', async () => {
  const store = await play.open();
  const queue = play.queue<number>(store);
  let poisoned = true;
  onStatements(store, (name, run, values) =>
    poisoned && isSettling(name) && Object.values(values).some((value) => String(value).includes('poison'))
      ? Promise.reject(new Error('refused'))
      : run(),
  );
  const worker = play.worker(queue, store, ({ data }) => (data === 7 ? 'poison' : 'fine'), { concurrency: 50 });
  record(worker);
  await queue.addBulk(many(50));
  await until(async () => (await queue.count('completed')) === 49);
  expect(await queue.count('active')).toBe(1);
  poisoned = false;
  await worker.close();
  expect(await queue.count('completed')).toBe(50);
});

it.each([false, true])(
  'one that took effect and whose answer was lost is not said to be lost (removed: %s)',
  async (removed) => {
    const store = await play.open();
    const queue = play.queue(store);
    let lost = 0;
    onStatements(store, async (name, run) => {
      const answer = await run();
      if (!isSettling(name)) return answer;
      if (lost++ > 0) return answer;
      throw new ConnectionError('the answer was lost');
    });
    let runs = 0;
    const heard = record(
      play.worker(queue, store, () => {
        runs++;
        return 'done';
      }),
    );
    const job = await queue.add('work', null, { removeOnComplete: removed });
    expect(await job.waitUntilFinished()).toBe('done');
    await until(() => heard.completed.length === 1);
    expect([runs, heard.errors]).toEqual([1, []]);
  },
);

it('nor is one that went alone, because of a lock, when its answer was lost', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const outcomes = [
    () => Promise.reject(Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' })),
    async (run: () => Promise<unknown>) => {
      await run();
      throw new ConnectionError('the answer was lost');
    },
  ];
  onStatements(store, (name, run) => ((isSettling(name) && outcomes.shift()) || ((go) => go()))(run));
  const heard = record(play.worker(queue, store, () => 'done'));
  const job = await queue.add('work', null);
  await until(() => heard.completed.length + heard.errors.length > 0);
  expect(heard).toMatchObject({ completed: [{ id: job.id, result: 'done' }], errors: [] });
  expect(outcomes).toEqual([]);
});

it('a handler that spoils the dates of its job spoils copies', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, (job) => job.processedAt?.setTime(Number.NaN) && null);
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => heard.completed.length === 1);
  const settled = await queue.getJob(job.id);
  expect(settled?.attemptLogs).toMatchObject([{ attempt: 1, startedAt: settled?.processedAt?.toISOString() }]);
  await worker.close();
});

it('what handlers have logged counts as a part of a batch, which stays small', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const sizes: number[] = [];
  onStatements(store, (name, run, values) => {
    if (isSettling(name)) sizes.push(`${values['batch']}${values['claims']}`.length);
    return run();
  });
  const everybody = barrier(12);
  const run = async (job: Job<unknown>) => {
    const line = job.id.padEnd(8_000, 'x');
    await Promise.all(Array.from({ length: 125 }, () => job.log(line)));
    await everybody();
  };
  const heard = record(play.worker(queue, store, run, { concurrency: 12 }));
  await queue.addBulk(many(12));
  await until(() => heard.completed.length === 12, { timeout: 30_000 });
  expect(Math.max(...sizes)).toBeLessThan(9 * 1024 * 1024);
  expect(heard.errors).toEqual([]);
});

it('a job that is gone is not said to be completed when its lease was over by then', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(
    queue,
    store,
    async ({ id }) => {
      // Somebody else had it, and ended it, while this process stood still.
      await play.database.sql`delete from conveyor_jobs where id = ${id}`;
      const end = performance.now() + 700;
      while (performance.now() < end);
      return 'too late';
    },
    { lockDuration: 500 },
  );
  const heard = record(worker);
  await queue.add('work', null, { removeOnComplete: true });
  await until(() => heard.errors.length === 1);
  expect(heard).toMatchObject({ completed: [], errors: [{ code: 'LEASE_LOST' }] });
});

it('while nothing can be settled no lease runs out, and no more is claimed than can be held', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let away = true;
  onStatements(store, (name, run) => (isSettling(name) && away ? Promise.reject(new ConnectionError('away')) : run()));
  let runs = 0;
  play.worker(queue, store, () => void runs++, { lockDuration: 300, stalledInterval: 50, concurrency: 5 });
  await queue.addBulk(many(20));
  await until(() => runs === 20);
  // As if twice the duration of a lease had passed since.
  await untilRenewed(play, queue.name, 600);
  away = false;
  await until(async () => (await queue.count('completed')) === 20);
  expect(runs).toBe(20);
});

describe('notifications that fail', () => {
  it('fail no job, hold no slot, and run nothing twice', async () => {
    const store = await play.open();
    const queue = play.queue<number>(store);
    onStatements(store, (name, run) => (name === 'notify' ? Promise.reject(new Error('no news today')) : run()));
    let runs = 0;
    const worker = play.worker(
      queue,
      store,
      async (job) => {
        runs++;
        await job.updateProgress(50);
        if (Number(job.data) % 10 === 0 && job.attemptsMade === 0) throw new Error('once');
        return job.data;
      },
      { concurrency: 3 },
    );
    const heard = record(worker);
    const jobs = await queue.addBulk(many(50).map((job) => ({ ...job, opts: { attempts: 2 } })));
    expect(await Promise.all(jobs.map((job) => job.waitUntilFinished()))).toEqual(jobs.map(({ data }) => data));
    expect([runs, heard.completed.length, heard.errors]).toEqual([55, 50, []]);
    const { job, children } = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: queue.name,
      data: 1,
      children: [{ name: 'child', queueName: queue.name, data: 2 }],
    });
    expect(children).toHaveLength(1);
    expect(await (await queue.getJob(job.id))?.waitUntilFinished()).toBe(1);
    const cancelled = await queue.add('work', 3, { delay: 60_000 });
    expect(await cancelled.cancel()).toBe(true);
  });

  it('that never answer hold nothing up either', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    onStatements(store, (name, run) => (name === 'notify' ? new Promise(() => {}) : run()));
    const worker = play.worker(queue, store, () => 'done');
    for (let i = 0; i < 3; i++) expect(await (await queue.add('work', i)).waitUntilFinished()).toBe('done');
    await worker.close();
    const began = performance.now();
    await store.disconnect();
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});

it('a subscriber that throws stops nothing', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  store.subscribe(queue.name, () => {
    throw new Error('a bad subscriber');
  });
  play.worker(queue, store, () => 'done');
  expect(await (await queue.add('work', null)).waitUntilFinished()).toBe('done');
  expect(play.said.some(({ level, args }) => level === 'warn' && String(args[0]).includes('a bad subscriber'))).toBe(
    true,
  );
});

import { expect, it } from 'vitest';
import { LeaseLostError } from '../../src/index.js';
import { longWork } from '../support/pauses.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { countStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

const jobs = (count: number) => Array.from({ length: count }, (_, n) => ({ name: 'work', data: n }));

it('runs as many jobs at once as its concurrency says, and no more', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const open = deferred();
  let running = 0;
  let most = 0;
  let done = 0;
  const run = async () => {
    most = Math.max(most, ++running);
    await open.promise;
    running--;
    done++;
  };
  play.worker(queue, store, run, { concurrency: 5 });
  await queue.addBulk(jobs(12));
  await until(() => running === 5);
  await until(async () => (await queue.count('active')) === 5);
  open.resolve();
  await until(() => done === 12);
  expect(most).toBe(5);
});

it('by default one after the other, in order of priority and then of age', async () => {
  const store = await play.open();
  const queue = play.queue<number>(store);
  const ran: unknown[] = [];
  const worker = play.worker(queue, store, async (job) => void ran.push(job.data), { autoStart: false });
  for (const [data, priority] of [
    [1, 5],
    [2, 0],
    [3, 5],
    [4, -1],
    [5, 0],
  ] as const) {
    await queue.add('work', data, { priority });
  }
  worker.start();
  await until(() => ran.length === 5);
  expect(ran).toEqual([4, 2, 5, 1, 3]);
});

it('lifo: of a worker, and of a single job', async () => {
  const store = await play.open();
  const queue = play.queue<number>(store);
  const ran: unknown[] = [];
  for (const [data, lifo] of [
    [1, false],
    [2, true],
    [3, false],
    [4, true],
  ] as const)
    await queue.add('work', data, { lifo });
  const first = play.worker(queue, store, async (job) => void ran.push(job.data));
  await until(() => ran.length === 4);
  expect(ran).toEqual([4, 2, 1, 3]);
  await first.close();

  await queue.addBulk(jobs(3));
  play.worker(queue, store, async (job) => void ran.push(job.data), { lifo: true });
  await until(() => ran.length === 7);
  expect(ran.slice(4)).toEqual([2, 1, 0]);
});

it('takes jobs for all free slots in one statement', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(jobs(80));
  const open = deferred();
  let running = 0;
  const worker = play.worker(
    queue,
    store,
    async () => {
      running++;
      await open.promise;
    },
    { concurrency: 50, autoStart: false },
  );
  const statements = countStatements(store);
  worker.start();
  await until(() => running === 50);
  expect(statements.count(/^claim/)).toBe(1);
  open.resolve();
  await until(async () => (await queue.count('completed')) === 80);
});

it('takes short jobs many at a time, and settles them many at a time', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(jobs(3_000));
  let done = 0;
  const worker = play.worker(queue, store, async () => void done++, { concurrency: 10, autoStart: false });
  const statements = countStatements(store);
  worker.start();
  await until(async () => (await queue.count('completed')) === 3_000);
  expect(done).toBe(3_000);
  expect(statements.count(/^claim/)).toBeLessThan(300);
  expect(statements.count(/^(settle|complete)\b/)).toBeLessThan(300);
});

it('refills a slot as soon as it is free: nobody has to look', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(jobs(20));
  let done = 0;
  const worker = play.worker(
    queue,
    store,
    async () => {
      await longWork();
      done++;
    },
    { concurrency: 2, autoStart: false },
  );
  const statements = countStatements(store);
  worker.start();
  await until(() => done === 20);
  expect(statements.count('poll')).toBeLessThanOrEqual(2);
});

it('gives back what it took ahead when the jobs turn out to be long', async () => {
  const store = await play.open();
  const queue = play.queue<string>(store);
  const open = deferred();
  let done = 0;
  const run = async (job: { data: unknown }) => {
    if (job.data === 'long') await open.promise;
    done++;
  };
  const worker = play.worker(queue, store, run, { autoStart: false });
  await queue.addBulk([
    ...Array.from({ length: 300 }, () => ({ name: 'work', data: 'short' })),
    { name: 'work', data: 'long' },
    ...Array.from({ length: 100 }, () => ({ name: 'work', data: 'short' })),
  ]);
  worker.start();
  await until(() => done >= 300);
  // Nothing but the long one is kept from others: another worker gets the rest, which no attempt was spent on.
  await until(async () => (await queue.count('active')) === 1);
  expect(await queue.count('waiting')).toBe(100);
  const other = await play.open();
  play.worker(queue, other, async (job) => {
    expect(job.attemptsMade).toBe(0);
    done++;
  });
  await until(() => done === 400);
  open.resolve();
  await until(async () => (await queue.count('completed')) === 401);
});

it('a job that it lost and took again while it waited for a slot runs once', async () => {
  const store = await play.open();
  const queue = play.queue<string>(store);
  const statements = countStatements(store);
  const ran: unknown[] = [];
  const open = deferred();
  const run = async ({ data }: { data: unknown }) => {
    ran.push(data);
    if (data === 'long') await open.promise;
  };
  const worker = play.worker(queue, store, run, { autoStart: false });
  record(worker);
  await queue.addBulk([...Array.from({ length: 50 }, () => 'short'), 'long'].map((data) => ({ name: 'work', data })));
  const next = await queue.add('work', 'next');
  worker.start();
  await until(() => ran.includes('long'));
  // It was taken together with the long one: swept now, it is at hand twice.
  await play.database.sql`update conveyor_jobs set state = 'waiting', lease = lease + 1, locked_by = null
    where id = ${next.id} and state = 'active'`;
  store.engine.notifier.wake(queue.name);
  await until(async () => (await rowOf(play, next))?.['lease'] === 3);
  // The worker knows of it, too.
  await until(() => statements.answered(/^claim/) === statements.count(/^claim/));
  open.resolve();
  await next.waitUntilFinished();
  await worker.close();
  expect(ran.filter((data) => data === 'next')).toEqual(['next']);
});

it('a running job that it claims again under a newer lease: the signal of the older attempt aborts', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const signals: AbortSignal[] = [];
  const open = deferred();
  const run = async (_job: unknown, signal: AbortSignal) => {
    signals.push(signal);
    await open.promise;
    return signals.length;
  };
  const worker = play.worker(queue, store, run, { concurrency: 2 });
  const { errors } = record(worker);
  const job = await queue.add('work', null);
  await until(() => signals.length === 1);
  await play.database.sql`update conveyor_jobs set state = 'waiting', locked_by = null where id = ${job.id}`;
  store.engine.notifier.wake(queue.name);
  await until(() => signals.length === 2);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  expect(signals[0]?.reason).toBeInstanceOf(LeaseLostError);
  open.resolve();
  await job.waitUntilFinished();
  await worker.close();
  expect(errors).toEqual([signals[0]?.reason]);
});

it('what an active listener sets off starts no more jobs than there are slots', async () => {
  const store = await play.open();
  const queue = play.queue<string>(store);
  const open = deferred();
  let [running, most] = [0, 0];
  const run = async ({ data }: { data: unknown }) => {
    if (data === 'short') return;
    most = Math.max(most, ++running);
    await open.promise;
  };
  const worker = play.worker(queue, store, run, { concurrency: 3, autoStart: false });
  worker.on('active', () => store.engine.notifier.wake(queue.name));
  worker.start();
  // Short ones first: then others are taken ahead, with all slots free.
  await queue.addBulk(Array.from({ length: 100 }, () => ({ name: 'work', data: 'short' })));
  await until(async () => (await queue.count('completed')) === 100);
  await queue.addBulk(Array.from({ length: 20 }, () => ({ name: 'work', data: 'long' })));
  await until(() => running >= 3);
  await until(async () => (await queue.count('active')) === 3);
  expect(most).toBe(3);
  open.resolve();
  await until(async () => (await queue.count('completed')) === 120);
});

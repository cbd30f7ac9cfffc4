import { expect, it } from 'vitest';
import { type Job, LeaseLostError } from '../../src/index.js';
import { type Deferred, deferred, until } from '../support/until.js';
import { countStatements, onStatements, record, rowOf, untilAsleep, usePlayground } from './setup.js';

const play = usePlayground();
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

type TakeOver = (job: Pick<Job, 'id'>) => PromiseLike<unknown>;

/** As a sweep and the next claim leave the row. */
const takeOver: TakeOver = ({ id }) => play.database.sql`update conveyor_jobs
  set lease = lease + 1, locked_by = 'another', lock_until = now() + interval '1 minute' where id = ${id}`;
const TAKE_OVERS: [string, TakeOver][] = [
  ['taken over by another worker', takeOver],
  [
    // A claim does not wait for the disk: after a crash of the server the next one counts from the same lease.
    'taken over by another worker under the same number',
    ({ id }) => play.database.sql`update conveyor_jobs
      set locked_by = 'another', lock_until = now() + interval '1 minute' where id = ${id}`,
  ],
  [
    'taken again by the same worker',
    ({ id }) => play.database.sql`update conveyor_jobs
      set lease = lease + 1, lock_until = now() + interval '1 minute' where id = ${id}`,
  ],
  [
    'ended by hand in the table',
    ({ id }) => play.database.sql`update conveyor_jobs
      set state = 'failed', failed_at = now() where id = ${id}`,
  ],
];

it('renews its leases: a job that takes longer than its lease runs once, though others sweep', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const worker = play.worker(queue, store, () => sleep(1_000), { lockDuration: 300, concurrency: 20 });
  const sweeper = play.worker(queue, other, async () => {}, { stalledInterval: 30 });
  await sweeper.pause();
  const [heard, swept] = [record(worker), record(sweeper)];
  await queue.addBulk(Array.from({ length: 20 }, (_, data) => ({ name: 'work', data })));
  await until(() => heard.completed.length === 20);
  expect(swept.stalled).toEqual([]);
  expect(heard.active).toHaveLength(20);
});

it('renews all of them in one statement', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const renewed: number[] = [];
  onStatements(store, (name, run, values) => {
    if (name === 'renew') renewed.push(JSON.parse(String(values['holds'])).length);
    return run();
  });
  const release = deferred();
  play.worker(queue, store, () => release.promise, { lockDuration: 150, concurrency: 50 });
  await queue.addBulk(Array.from({ length: 50 }, (_, data) => ({ name: 'work', data })));
  await until(() => renewed.filter((count) => count === 50).length >= 3);
  release.resolve();
});

it('one failed renewal, or two, cost nothing', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let failures = 0;
  let successes = 0;
  onStatements(store, async (name, run) => {
    if (name !== 'renew') return run();
    if (failures < 2) {
      failures++;
      throw new Error('the renewal failed');
    }
    successes++;
    return run();
  });
  const release = deferred<string>();
  const worker = play.worker(queue, store, () => release.promise, { lockDuration: 1_500 });
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => successes >= 3);
  release.resolve('done');
  expect(await job.waitUntilFinished()).toBe('done');
  expect(heard.errors).toEqual([]);
  expect(play.said.filter(({ message }) => /could not renew 1 lease/.test(message))).toHaveLength(2);
});

it('a renewal that never answers does not keep the next ones from being made', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let asked = 0;
  onStatements(store, async (name, run) => {
    if (name === 'renew' && ++asked === 1) await new Promise(() => {});
    return run();
  });
  const release = deferred<string>();
  const worker = play.worker(queue, store, () => release.promise, { lockDuration: 1_200 });
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => asked >= 4);
  release.resolve('done');
  expect(await job.waitUntilFinished()).toBe('done');
  expect(heard.errors).toEqual([]);
});

it.each(['before any renewal', 'while one is under way'])(
  'a handler that blocks the process longer than its lease keeps its job, if nobody took it: %s',
  async (when) => {
    const store = await play.open();
    const queue = play.queue(store);
    const renewing = deferred();
    const statements = countStatements(store);
    onStatements(store, (name, run) => {
      const answer = run();
      // It has been sent by then, and its answer is not there yet.
      if (name === 'renew') setImmediate(() => setImmediate(renewing.resolve));
      return answer;
    });
    const worker = play.worker(
      queue,
      store,
      async () => {
        if (when === 'while one is under way') await renewing.promise;
        const end = performance.now() + 500;
        while (performance.now() < end);
        await sleep(100);
        return 'done';
      },
      { lockDuration: 200 },
    );
    const heard = record(worker);
    // Else its own process might look, and find the lease expired.
    await untilAsleep(statements);
    const job = await queue.add('work', null);
    expect(await job.waitUntilFinished()).toBe('done');
    expect(heard.errors).toEqual([]);
  },
);

it.each<[string, (job: Job) => PromiseLike<unknown>]>([
  ...TAKE_OVERS,
  ['removed', (job) => job.remove()],
  ['failed by somebody else', (job) => job.moveToFailed('from outside')],
])('a lost lease aborts the signal, says so, and nothing more is written: %s', async (_name, lose) => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const outcomes: PromiseSettledResult<unknown>[] = [];
  const worker = play.worker(
    queue,
    store,
    async (job, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      outcomes.push(
        ...(await Promise.allSettled([
          job.updateProgress(50),
          job.log('still here'),
          job.updateData('mine'),
          job.moveToFailed('mine'),
          job.moveToDelayed(Date.now() + 60_000),
          job.discard(),
          job.clearLogs(),
        ])),
        { status: 'rejected', reason: signal.reason },
      );
      return 'mine';
    },
    { lockDuration: 400 },
  );
  const heard = record(worker);
  const job = await queue.add('work', 'data');
  await until(() => heard.active.length === 1);
  await lose(
    (await new (await import('../../src/index.js')).Queue(queue.name, { store: other }).getJob(job.id)) as Job,
  );
  const before = await rowOf(play, job);
  await until(() => outcomes.length > 0);
  for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: expect.any(LeaseLostError) });
  await worker.close();
  expect(heard).toMatchObject({ completed: [], failed: [], errors: [expect.any(LeaseLostError)] });
  expect(await rowOf(play, job)).toEqual(before);
});

it.each(TAKE_OVERS)('a worker that does not know yet writes nothing either: %s', async (_name, lose) => {
  const store = await play.open();
  const queue = play.queue(store);
  const taken = deferred();
  const outcomes: PromiseSettledResult<unknown>[] = [];
  const worker = play.worker(queue, store, async (job) => {
    await taken.promise;
    const calls = [
      () => job.updateProgress(50),
      () => job.log('still here'),
      () => job.updateData('mine'),
      () => job.discard(),
      () => job.clearLogs(),
    ];
    for (const call of calls) outcomes.push(...(await Promise.allSettled([call()])));
    return 'mine';
  });
  const heard = record(worker);
  const job = await queue.add('work', 'data');
  await until(() => heard.active.length === 1);
  await lose(job);
  const before = await rowOf(play, job);
  taken.resolve();
  await until(() => heard.errors.length > 0);
  expect(outcomes).toHaveLength(5);
  for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: expect.any(LeaseLostError) });
  expect(heard.errors).toEqual([expect.any(LeaseLostError)]);
  expect(await rowOf(play, job)).toEqual(before);
});

it.each<[string, (job: Job) => unknown]>([
  ['fails', () => Promise.reject(new Error('stale'))],
  ['fails for good', (job) => job.moveToFailed(new Error('stale'))],
  ['puts it off', (job) => job.moveToDelayed(Date.now() + 60_000)],
])('nor does one whose handler %s', async (_name, end) => {
  const store = await play.open();
  const queue = play.queue(store);
  const taken = deferred();
  const worker = play.worker(queue, store, async (job) => {
    await taken.promise;
    return end(job as Job);
  });
  const heard = record(worker);
  const job = await queue.add('work', 'data', { attempts: 3 });
  await until(() => heard.active.length === 1);
  await takeOver(job);
  const before = await rowOf(play, job);
  taken.resolve();
  await until(() => heard.errors.length > 0);
  expect(heard).toMatchObject({ completed: [], failed: [], errors: [expect.any(LeaseLostError)] });
  expect(await rowOf(play, job)).toEqual(before);
});

it('a job that its worker has taken again is renewed and ended by its second attempt alone', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const releases: Deferred<string>[] = [];
  const worker = play.worker(
    queue,
    store,
    () => {
      const release = deferred<string>();
      releases.push(release);
      return release.promise;
    },
    { concurrency: 2, lockDuration: 1_200, stalledInterval: 600_000 },
  );
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => releases.length === 1);
  // Swept, and nobody tells its worker.
  await play.database.sql`update conveyor_jobs set state = 'waiting', lease = lease + 1, locked_by = null,
    lock_until = null where id = ${job.id}`;
  store.engine.hub.ring(queue.name);
  await until(() => releases.length === 2);
  releases[0]?.resolve('first');
  await until(() => heard.errors.length === 1);
  expect(heard.errors).toEqual([expect.any(LeaseLostError)]);
  const { lock_until: lock } = (await rowOf(play, job)) as { lock_until: Date };
  await until(async () => ((await rowOf(play, job))?.['lock_until'] as Date) > lock);
  releases[1]?.resolve('second');
  expect(await job.waitUntilFinished()).toBe('second');
  expect(heard.completed.map(({ result }) => result)).toEqual(['second']);
});

it('what a handler does with its job after it has ended changes nothing of the next attempt', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const later = deferred<Job>();
  const worker = play.worker(queue, store, async (job) => later.resolve(job as Job));
  const job = await queue.add('work', 'data');
  const stale = await later.promise;
  await job.waitUntilFinished();
  await worker.close();
  await play.database.sql`update conveyor_jobs set state = 'waiting', completed_at = null where id = ${job.id}`;
  const release = deferred();
  const heard = record(play.worker(queue, other, () => release.promise));
  await until(() => heard.active.length === 1);
  const before = await rowOf(play, job);
  await expect(stale.moveToFailed('stale')).rejects.toBeInstanceOf(LeaseLostError);
  await expect(stale.moveToDelayed(Date.now() + 60_000)).rejects.toBeInstanceOf(LeaseLostError);
  await expect(stale.updateProgress(1)).rejects.toBeInstanceOf(LeaseLostError);
  await expect(stale.log('stale')).rejects.toBeInstanceOf(LeaseLostError);
  await expect(stale.updateData('stale')).rejects.toBeInstanceOf(LeaseLostError);
  await expect(stale.discard()).rejects.toBeInstanceOf(LeaseLostError);
  expect(await rowOf(play, job)).toEqual(before);
  release.resolve();
});

it.each<[string, () => Promise<never>]>([
  ['fails', () => Promise.reject(new Error('no way through'))],
  ['hangs', () => new Promise(() => {})],
])('while every renewal %s, the lease is given up when it has run out', async (_name, fail) => {
  const store = await play.open();
  const queue = play.queue(store);
  onStatements(store, (name, run) => (name === 'renew' ? fail() : run()));
  const reasons: unknown[] = [];
  const worker = play.worker(
    queue,
    store,
    async (_job, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      reasons.push(signal.reason);
    },
    { lockDuration: 300, stalledInterval: 600_000 },
  );
  const heard = record(worker);
  await queue.add('work', null);
  await until(() => reasons.length === 1);
  expect(reasons).toEqual([expect.any(LeaseLostError)]);
  expect(heard.errors).toEqual([expect.any(LeaseLostError)]);
});

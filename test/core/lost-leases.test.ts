import { describe, expect, it } from 'vitest';
import { type Job, LeaseLostError, Queue } from '../../src/index.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { type Deferred, deferred, until } from '../support/until.js';

const play = usePlayground();

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

it.each<[string, (job: Job) => PromiseLike<unknown>]>([
  ...TAKE_OVERS,
  ['removed', (job) => job.remove()],
  ['failed by somebody else', (job) => job.moveToFailed('from outside')],
  ['put off by somebody else', (job) => job.moveToDelayed(Date.now() + 60_000)],
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
  await lose((await new Queue(queue.name, { store: other }).getJob(job.id)) as Job);
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
  // Recording the start is the last time for a while that the worker reads its lease.
  await until(async () => (await rowOf(play, job))?.['started_lease'] === 1);
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
  // Swept, without a notification to its worker.
  await play.database.sql`update conveyor_jobs set state = 'waiting', lease = lease + 1, locked_by = null,
    lock_until = null where id = ${job.id}`;
  store.engine.notifier.wake(queue.name);
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

describe('what a handler does with its job after it has ended changes nothing of the next attempt', () => {
  const late = async (stale: Job) => {
    const calls = [
      () => stale.moveToFailed('stale'),
      () => stale.moveToDelayed(Date.now() + 60_000),
      () => stale.updateProgress(1),
      () => stale.log('stale'),
      () => stale.updateData('stale'),
      () => stale.discard(),
      () => stale.clearLogs(),
      () => stale.remove(),
    ];
    for (const call of calls) await expect(call(), String(call)).rejects.toBeInstanceOf(LeaseLostError);
  };

  it('by another worker', async () => {
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
    play.worker(queue, other, () => release.promise);
    await until(async () => (await rowOf(play, job))?.['started_lease'] === 2);
    const before = await rowOf(play, job);
    await late(stale);
    expect(await rowOf(play, job)).toEqual(before);
    release.resolve();
  });

  it('by the same worker', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const attempts: Job[] = [];
    const release = deferred<string>();
    const worker = play.worker(queue, store, async (job) => {
      if (attempts.push(job as Job) === 1) throw new Error('again');
      return release.promise;
    });
    record(worker);
    const job = await queue.add('work', 'data', { attempts: 3 });
    await until(async () => (await rowOf(play, job))?.['started_lease'] === 2);
    const before = await rowOf(play, job);
    await late(attempts[0] as Job);
    expect(await rowOf(play, job)).toEqual(before);
    release.resolve('done');
    expect(await job.waitUntilFinished()).toBe('done');
  });
});

it('lines that a stale attempt and its successor log at once are told apart', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const attempts: Job[] = [];
  const release = deferred();
  const worker = play.worker(queue, store, (job) => {
    if (attempts.push(job as Job) === 1) throw new Error('again');
    return release.promise;
  });
  record(worker);
  const job = await queue.add('work', null, { attempts: 2 });
  await until(() => attempts.length === 2);
  const [stale, fresh] = attempts as [Job, Job];
  const logged = await Promise.allSettled([stale.log('stale'), fresh.log('fresh'), stale.log('stale')]);
  expect(logged.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
  expect((await queue.getJob(job.id))?.logs).toEqual(['fresh']);
  release.resolve();
  await job.waitUntilFinished();
});

it.each<[string, (job: Job, queue: Queue) => Promise<unknown>]>([
  ['removed', (job) => job.remove()],
  ['failed', (job) => job.moveToFailed('from outside')],
  ['put off', (job) => job.moveToDelayed(Date.now() + 60_000)],
])('a handler whose job is %s by another process is told by the news, not by a renewal', async (_name, take) => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const reasons: unknown[] = [];
  const worker = play.worker(
    queue,
    store,
    (_job, signal) =>
      new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          resolve();
        });
      }),
    { lockDuration: 600_000 },
  );
  record(worker);
  const job = await queue.add('work', null);
  await until(() => job.isActive());
  const remote = new Queue(queue.name, { store: other });
  await take((await remote.getJob(job.id)) as Job, remote);
  await until(() => reasons.length === 1);
  expect(reasons).toEqual([expect.any(LeaseLostError)]);
});

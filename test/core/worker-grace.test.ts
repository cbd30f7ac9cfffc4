import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { type Job, LeaseLostError } from '../../src/index.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

/** A handler that goes on until it is released, whatever its signal says; `quick` jobs end at once. */
function stubborn() {
  const release = deferred();
  const running: Job[] = [];
  const ended: Promise<unknown>[] = [];
  const run = async (job: Job) => {
    if (job.name === 'quick') return 'done';
    running.push(job);
    const done = release.promise.then(() => 'too late');
    ended.push(done);
    return done;
  };
  return { run, running, release, settled: () => Promise.all(ended) };
}

it('a handler that ignores its signal: each attempt ends after timeout and grace, and is told', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { run, running, release, settled } = stubborn();
  const worker = play.worker(queue, store, run, { timeoutGrace: 100 });
  const heard = record(worker);
  const told: [string, number][] = [];
  worker.on('timeout', ({ job, timeout }) => void told.push([`timeout ${job.attemptsMade}`, timeout]));
  worker.on('abandoned', ({ job, grace }) => void told.push([`abandoned ${job.attemptsMade}`, grace]));
  const job = await queue.add('work', null, { timeout: 40, attempts: 2 });
  await expect(job.waitUntilFinished()).rejects.toThrow(`Job "${job.id}" timed out after 40 ms`);
  await until(() => told.length === 4);
  expect(told).toEqual([
    ['timeout 0', 40],
    ['abandoned 0', 100],
    ['timeout 1', 40],
    ['abandoned 1', 100],
  ]);
  expect(play.said.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
    expect.stringMatching(/not ended within its timeout of 40 ms/),
    expect.stringMatching(/abandoned/),
    expect.stringMatching(/not ended within its timeout of 40 ms/),
    expect.stringMatching(/abandoned/),
  ]);
  // Its only slot is free, although both handlers still run.
  expect(await (await queue.add('quick', null)).waitUntilFinished()).toBe('done');
  // What they still write is refused.
  for (const late of running) {
    await expect(late.updateProgress(50)).rejects.toThrow(LeaseLostError);
    await expect(late.log('late')).rejects.toThrow(LeaseLostError);
  }
  release.resolve();
  await settled();
  await worker.close();
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', attemptsMade: 2, progress: 0, logs: [] });
  expect(heard.errors).toEqual([]);
});

it('what the first handler still writes does not reach the next attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const attempts: Job[] = [];
  const run = async (job: Job) => {
    attempts.push(job);
    if (attempts.length === 1) await new Promise(() => {});
    await release.promise;
    return 'second';
  };
  const worker = play.worker(queue, store, run, { timeoutGrace: 20 });
  const job = await queue.add('work', null, { timeout: 500, attempts: 2 });
  await until(() => attempts.length === 2);
  await worker.pause();
  await job.updateData(null);
  await expect(attempts[0]!.updateProgress(99)).rejects.toThrow(LeaseLostError);
  expect((await rowOf(play, job))?.['progress']).toBe(0);
  release.resolve();
});

it('cancelling a job whose time is over ends it at once', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { run, release } = stubborn();
  const worker = play.worker(queue, store, run, { timeoutGrace: 600_000 });
  const timedOut = deferred();
  worker.on('timeout', () => timedOut.resolve());
  const job = await queue.add('work', null, { timeout: 20, attempts: 3 });
  await timedOut.promise;
  expect(await job.cancel()).toBe(true);
  await expect(job.waitUntilFinished()).rejects.toThrow(/cancelled/);
  expect(await (await queue.add('quick', null)).waitUntilFinished()).toBe('done');
  release.resolve();
});

it('a cancelled handler that ignores its signal is abandoned, too', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { run, running, release } = stubborn();
  play.worker(queue, store, run, { timeoutGrace: 50 });
  const job = await queue.add('work', null, { attempts: 3 });
  await until(() => running.length === 1);
  await job.cancel();
  await expect(job.waitUntilFinished()).rejects.toThrow(/cancelled/);
  expect(await (await queue.add('quick', null)).waitUntilFinished()).toBe('done');
  release.resolve();
});

it('and one that has lost its lease', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { run, running, release } = stubborn();
  const worker = play.worker(queue, store, run, { timeoutGrace: 50, lockDuration: 300 });
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => running.length === 1);
  await play.database.sql`update conveyor_jobs set lease = lease + 1, locked_by = 'other' where id = ${job.id}`;
  expect(await (await queue.add('quick', null)).waitUntilFinished()).toBe('done');
  expect(heard.errors).toEqual([expect.any(LeaseLostError)]);
  release.resolve();
});

it('the slot of a batch is free when none of its jobs is waited for any more', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(
    queue,
    store,
    (async (jobs: Job[]) => {
      if (jobs.some(({ name }) => name === 'work')) await release.promise;
      return jobs.map(() => ({ status: 'completed', value: 'done' }));
    }) as never,
    { batch: { size: 2 }, timeoutGrace: 30 } as never,
  );
  await worker.pause();
  const [first, second] = await queue.addBulk([
    { name: 'work', data: 1, opts: { timeout: 20 } },
    { name: 'work', data: 2, opts: { timeout: 80, attempts: 2, backoff: { type: 'fixed', delay: 60_000 } } },
  ]);
  const quick = await queue.add('quick', null, { priority: 1 });
  worker.resume();
  await expect(first!.waitUntilFinished()).rejects.toThrow(/timed out/);
  await until(async () => (await queue.getJob(second!.id))?.attemptsMade === 1);
  expect(await quick.waitUntilFinished()).toBe('done');
  release.resolve();
});

it.each([-1, 1.5, Number.NaN, 'soon'])('timeoutGrace %s is refused', async (timeoutGrace) => {
  const store = await play.open();
  const queue = play.queue(store);
  expect(() => play.worker(queue, store, () => {}, { timeoutGrace: timeoutGrace as number })).toThrow(/timeoutGrace/);
});

it('one whose store was disconnected is abandoned, too', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { run, running, release } = stubborn();
  play.worker(queue, store, run, { timeoutGrace: 100 });
  const job = await queue.add('work', null);
  await until(() => running.length === 1);
  await store.disconnect();
  await store.connect();
  await play.database.sql`delete from conveyor_jobs where id = ${job.id}`;
  expect(await (await queue.add('quick', null)).waitUntilFinished(10_000)).toBe('done');
  release.resolve();
}, 60_000);

it('a job that is stopped before its handler is called is not abandoned', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { run, running } = stubborn();
  const worker = play.worker(queue, store, run, { timeoutGrace: 50, autoStart: false });
  const abandoned: string[] = [];
  worker.on('abandoned', ({ job: { id } }) => void abandoned.push(id));
  const job = await queue.add('work', null);
  // Its start is recorded first.
  await play.database.sql`update conveyor_jobs set stalled_count = 1 where id = ${job.id}`;
  const { executor } = store.engine;
  const send = executor.run.bind(executor);
  vi.spyOn(executor, 'run').mockImplementation(async (statement, values) => {
    if (statement.name === 'renew') await job.cancel();
    return send(statement, values);
  });
  worker.start();
  await expect(job.waitUntilFinished()).rejects.toThrow(/cancelled/i);
  await sleep(150);
  expect([running, abandoned]).toEqual([[], []]);
});

import { expect, it } from 'vitest';
import { JobTimeoutError } from '../../src/index.js';
import { record, usePlayground } from '../support/playground.js';
import { deferred } from '../support/until.js';

const play = usePlayground();

/** Resolves when the signal aborts, with its reason. */
const aborted = (signal: AbortSignal) =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)));

it('aborts the signal and fails the attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const reasons: unknown[] = [];
  play.worker(queue, store, async (job, signal) => {
    expect(job.signal).toBe(signal);
    reasons.push(await aborted(signal));
    throw signal.reason;
  });
  const job = await queue.add('work', null, { timeout: 30, attempts: 2 });
  await expect(job.waitUntilFinished()).rejects.toThrow(`Job "${job.id}" timed out after 30 ms`);
  expect(reasons).toEqual([expect.any(JobTimeoutError), expect.any(JobTimeoutError)]);
  expect((await queue.getJob(job.id))?.attemptLogs.map(({ status, error }) => [status, error])).toEqual([
    ['failed', `Job "${job.id}" timed out after 30 ms`],
    ['failed', `Job "${job.id}" timed out after 30 ms`],
  ]);
});

it('a handler that returns after its time has failed all the same', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, async (_job, signal) => {
    await aborted(signal);
    return 'too late';
  });
  const job = await queue.add('work', null, { timeout: 30, attempts: 2 });
  await expect(job.waitUntilFinished()).rejects.toThrow(/timed out/);
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', attemptsMade: 2, returnvalue: null });
});

it('the retry never overlaps the attempt that timed out, even when that ignores its signal', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let running = 0;
  let most = 0;
  let runs = 0;
  const [timedOut, release] = [deferred(), deferred()];
  play.worker(
    queue,
    store,
    async ({ name }, signal) => {
      if (name === 'other') return;
      most = Math.max(most, ++running);
      if (++runs === 1) {
        await aborted(signal);
        timedOut.resolve();
        await release.promise;
      }
      running--;
    },
    { concurrency: 5 },
  );
  const job = await queue.add('work', null, { timeout: 40, attempts: 2 });
  await timedOut.promise;
  // The worker claims and completes another job while the handler still runs.
  await (await queue.add('other', null)).waitUntilFinished();
  expect(await job.isActive()).toBe(true);
  release.resolve();
  await job.waitUntilFinished();
  expect([runs, most]).toEqual([2, 1]);
});

it('without another attempt the job fails at once, whatever its handler is doing', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise);
  const heard = record(worker);
  const job = await queue.add('work', null, { timeout: 30 });
  await expect(job.waitUntilFinished()).rejects.toThrow(/timed out/);
  release.resolve();
  // What it returns now is no second end.
  await worker.close();
  expect(heard).toMatchObject({ completed: [], failed: [{ id: job.id }], errors: [] });
  expect(heard.failed).toHaveLength(1);
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', attemptsMade: 1 });
});

it('a discarded job has no other attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  play.worker(queue, store, () => release.promise);
  const job = await queue.add('work', null, { attempts: 5, timeout: 30, delay: 60_000 });
  await play.database.sql`update conveyor_jobs set discarded = true where id = ${job.id}`;
  await job.promote();
  await expect(job.waitUntilFinished()).rejects.toThrow(/timed out/);
  release.resolve();
});

it('nor has one that its handler discards', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  play.worker(queue, store, async (job) => {
    await job.discard();
    await release.promise;
  });
  const job = await queue.add('work', null, { attempts: 5, timeout: 300 });
  await expect(job.waitUntilFinished()).rejects.toThrow(/timed out/);
  release.resolve();
});

it('a job that is done in time knows nothing of it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let signalOfFirst: AbortSignal | undefined;
  play.worker(queue, store, async (job, signal) => {
    if (job.name === 'first') signalOfFirst = signal;
    else await aborted(signal);
  });
  await queue.add('first', null, { timeout: 50 });
  // The time of the second one runs out later.
  const second = await queue.add('second', null, { timeout: 50 });
  await expect(second.waitUntilFinished()).rejects.toThrow(/timed out/);
  expect(signalOfFirst?.aborted).toBe(false);
});

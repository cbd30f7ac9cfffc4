import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Job } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

const REREAD_MS = 1_000;

// Waits read the tables once a second. Without that, only notifications and reads for a reason remain.
beforeEach(() => {
  const real = globalThis.setInterval;
  const without = (run: () => void, ms: number) => real(ms === REREAD_MS ? () => {} : run, ms);
  vi.spyOn(globalThis, 'setInterval').mockImplementation(without as typeof setInterval);
});
afterEach(() => vi.restoreAllMocks());

it('the end of a job that has long ended is told at once', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const job = await play.queue(store).add('work', null);
  await job.moveToFailed('long ago');
  const heard: string[] = [];
  const late = new Job(job.toJSON(), other);
  late.observe().subscribe({ onFailed: (_job, reason) => void heard.push(reason) });
  await until(() => heard.length > 0);
  expect(heard).toEqual(['long ago']);
  await expect(late.waitUntilFinished()).rejects.toThrow('long ago');
});

it('a result that is too large for its news is read when they come', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const release = deferred();
  const result = 'x'.repeat(50_000);
  play.worker(queue, store, () => release.promise.then(() => result));
  const job = await queue.add('work', null);
  const heard: string[] = [];
  const far = new Job(job.toJSON(), other);
  far.observe().subscribe({ onActive: () => void heard.push('active') });
  const waits = Promise.all([job.waitUntilFinished(), far.waitUntilFinished()]);
  await until(() => heard.length > 0);
  release.resolve();
  for (const told of await waits) expect(told === result).toBe(true);
});

it('what ended while LISTEN was away is asked for when it is back', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const job = await queue.add('work', null, { delay: 60_000 });
  const far = new Job(job.toJSON(), other);
  const heard: number[] = [];
  far.observe().subscribe({ onProgress: (_job, progress) => void heard.push(progress) });
  const wait = far.waitUntilFinished();
  await job.updateProgress(1);
  await until(() => heard.includes(1));
  // Without an event, as if the notification had been lost.
  await play.database
    .sql`update conveyor_jobs set state = 'completed', returnvalue = '"silently"' where id = ${job.id}`;
  await play.database.sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen %'`;
  expect(await wait).toBe('silently');
});

import { describe, expect, it } from 'vitest';
import type { BatchResult, Job, PgStore, Queue } from '../../src/index.js';
import { Worker } from '../../src/index.js';
import { record, untilRenewed, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

type Run = (jobs: Job[], signal: AbortSignal) => readonly BatchResult[] | Promise<readonly BatchResult[]>;

/** A worker that is given its jobs only when all of them are there, so that they come as one batch. */
function batchWorker(queue: Queue, store: PgStore, run: Run, options: { size?: number; concurrency?: number } = {}) {
  const { size = 10, ...more } = options;
  const worker = new Worker(queue.name, run as never, { store, batch: { size }, autoStart: false, ...more });
  const heard = record(worker);
  return { worker, heard };
}

const many = (count: number, opts: object = {}) =>
  Array.from({ length: count }, (_, data) => ({ name: 'work', data, opts }));
const completed = (value?: unknown): BatchResult => ({ status: 'completed', value });
const ended = (queue: Queue, count: number) =>
  until(async () => {
    const { completed, failed } = await queue.getJobCounts();
    return completed + failed === count;
  });

it('hands out up to its size, in order, and settles each job by its own result', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const sizes: number[] = [];
  const jobs = await queue.addBulk(many(25));
  const { worker, heard } = batchWorker(queue, store, async (batch) => {
    sizes.push(batch.length);
    return batch.map(({ data }) => completed(data));
  });
  worker.start();
  await ended(queue, 25);
  await worker.close();
  expect(sizes.slice(0, 2)).toEqual([10, 10]);
  expect(Math.max(...sizes)).toBe(10);
  expect(heard.active).toEqual(jobs.map(({ id }) => id));
  for (const job of jobs) expect((await queue.getJob(job.id))?.returnvalue).toBe(job.data);
});

it('runs as many batches at once as its concurrency says', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(many(40));
  let running = 0;
  let most = 0;
  const release = deferred();
  const { worker } = batchWorker(
    queue,
    store,
    async (batch) => {
      most = Math.max(most, ++running);
      await release.promise;
      running--;
      return batch.map(() => completed());
    },
    { size: 5, concurrency: 3 },
  );
  worker.start();
  await until(() => running === 3);
  expect(await queue.count('active')).toBe(15);
  release.resolve();
  await ended(queue, 40);
  expect(most).toBe(3);
  await worker.close();
});

it('does not wait for a batch to fill', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { worker } = batchWorker(queue, store, async (batch) => batch.map(({ data }) => completed(data)));
  worker.start();
  expect(await (await queue.add('work', 'alone')).waitUntilFinished()).toBe('alone');
  await worker.close();
});

describe('what fails', () => {
  it('one failed result fails its own job only, and that is tried again', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const jobs = await queue.addBulk(many(5, { attempts: 2 }));
    const { worker, heard } = batchWorker(queue, store, async (batch) =>
      batch.map(({ data, attemptsMade }) =>
        data === 3 && attemptsMade === 0 ? { status: 'failed', error: new Error('not yet') } : completed(attemptsMade),
      ),
    );
    worker.start();
    await ended(queue, 5);
    await worker.close();
    const rows = await Promise.all(jobs.map(({ id }) => queue.getJob(id)));
    expect(rows.map((row) => [row?.state, row?.returnvalue])).toEqual([
      ['completed', 0],
      ['completed', 0],
      ['completed', 0],
      ['completed', 1],
      ['completed', 0],
    ]);
    expect(rows[3]?.attemptLogs.map(({ attempt, status, error }) => [attempt, status, error])).toEqual([
      [1, 'failed', 'not yet'],
      [2, 'completed', null],
    ]);
    expect(heard.retrying.map(({ id }) => id)).toEqual([jobs[3]?.id]);
    expect(heard.failed).toEqual([]);
  });

  it.each<[string, (jobs: Job[]) => unknown, RegExp[]]>([
    ['a throw fails all', () => Promise.reject(new Error('boom')), [/boom/, /boom/, /boom/]],
    ['no array fails all', () => 'fine', [/must return an array/, /must return an array/, /must return an array/]],
    ['too short: those without a result', () => [completed(), completed()], [/^ok$/, /^ok$/, /result 2 is not/]],
    [
      'too long: the rest is left out',
      () => [completed(), completed(), completed(), completed()],
      [/^ok$/, /^ok$/, /^ok$/],
    ],
    [
      'one that is no result',
      () => [completed(), { status: 'done' }, null],
      [/^ok$/, /result 1 is not/, /result 2 is not/],
    ],
    ['failed without an error', () => [completed(), { status: 'failed' }, completed()], [/^ok$/, /failed/, /^ok$/]],
  ])('%s', async (_name, answer, outcomes) => {
    const store = await play.open();
    const queue = play.queue(store);
    const jobs = await queue.addBulk(many(3));
    const { worker } = batchWorker(queue, store, answer as Run);
    worker.start();
    await ended(queue, 3);
    await worker.close();
    const rows = await Promise.all(jobs.map(({ id }) => queue.getJob(id)));
    for (const [i, row] of rows.entries()) {
      expect(row?.state === 'completed' ? 'ok' : row?.failedReason).toMatch(outcomes[i] as RegExp);
    }
  });
});

it('keeps the log lines of each job apart', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk(many(3));
  const { worker } = batchWorker(queue, store, async (batch) => {
    await Promise.all(batch.map((job) => job.log(`line of ${job.data}`)));
    return batch.map(() => completed());
  });
  worker.start();
  await ended(queue, 3);
  await worker.close();
  for (const { id, data } of jobs) {
    const row = await queue.getJob(id);
    expect(row?.logs).toEqual([`line of ${data}`]);
    expect(row?.attemptLogs[0]?.logs).toEqual([`line of ${data}`]);
  }
});

it('renews the leases of all its jobs', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(many(20));
  const release = deferred();
  const worker = new Worker(
    queue.name,
    async (batch) => {
      await release.promise;
      return batch.map(() => completed());
    },
    { store, batch: { size: 20 }, lockDuration: 300, stalledInterval: 50 },
  );
  const heard = record(worker);
  await until(() => heard.active.length === 20);
  await untilRenewed(play, queue.name, 600);
  release.resolve();
  await ended(queue, 20);
  expect(heard.stalled).toEqual([]);
  await worker.close();
});

it('one job whose lease is lost is left out; the others end as their results say', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk(many(3));
  const release = deferred();
  const { worker, heard } = batchWorker(queue, store, async (batch) => {
    await release.promise;
    return batch.map(({ data }) => completed(data));
  });
  worker.start();
  await until(() => heard.active.length === 3);
  await play.database
    .sql`update conveyor_jobs set lease = lease + 1, locked_by = 'another' where id = ${jobs[1]?.id as string}`;
  release.resolve();
  await until(() => heard.completed.length === 2 && heard.errors.length === 1);
  await worker.close();
  expect(heard).toMatchObject({ failed: [], errors: [{ code: 'LEASE_LOST' }] });
  const rows = await Promise.all(jobs.map(({ id }) => queue.getJob(id)));
  expect(rows.map((row) => [row?.state, row?.returnvalue])).toEqual([
    ['completed', 0],
    ['active', null],
    ['completed', 2],
  ]);
});

it('closed by force it gives back all of its jobs, and no attempt was used up', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(many(5));
  const { worker, heard } = batchWorker(queue, store, () => new Promise(() => {}), { size: 5 });
  worker.start();
  await until(() => heard.active.length === 5);
  await worker.close(0);
  const waiting = await queue.getJobs('waiting');
  expect(waiting.map(({ data, attemptsMade, attemptLogs }) => [data, attemptsMade, attemptLogs])).toEqual(
    many(5).map(({ data }) => [data, 0, []]),
  );
});

describe('cancellation', () => {
  it('of one job aborts its own signal; the others go on', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const jobs = await queue.addBulk(many(3));
    const told = deferred<unknown>();
    const { worker, heard } = batchWorker(queue, store, async (batch, signal) => {
      const second = batch[1] as Job;
      await new Promise((resolve) => second.signal?.addEventListener('abort', resolve));
      told.resolve([signal.aborted, batch.map((job) => job.signal?.aborted)]);
      return batch.map(() => completed('done'));
    });
    worker.start();
    await until(() => heard.active.length === 3);
    await jobs[1]?.cancel();
    expect(await told.promise).toEqual([false, [false, true, false]]);
    await ended(queue, 3);
    await worker.close();
    const rows = await Promise.all(jobs.map(({ id }) => queue.getJob(id)));
    expect(rows.map((row) => row?.failedReason ?? row?.returnvalue)).toEqual(['done', 'Job cancelled', 'done']);
    expect(heard.cancelled).toEqual([jobs[1]?.id]);
  });

  it('of all of them aborts the signal of the batch', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const jobs = await queue.addBulk(many(3));
    const { worker, heard } = batchWorker(queue, store, async (_batch, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    });
    worker.start();
    await until(() => heard.active.length === 3);
    for (const job of jobs) await job.cancel();
    await ended(queue, 3);
    await worker.close();
    expect(heard.failed).toHaveLength(3);
  });
});

it('a time limit fails its own job only', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const slow = await queue.add('work', 'slow', { timeout: 40, attempts: 2 });
  const last = await queue.add('work', 'last', { timeout: 40 });
  const fine = await queue.add('work', 'fine');
  let round = 0;
  const { worker } = batchWorker(queue, store, async (batch) => {
    if (++round === 1) await until(() => batch.filter(({ signal }) => signal?.aborted).length === 2);
    return batch.map(({ data }) => completed(data));
  });
  worker.start();
  expect(await fine.waitUntilFinished()).toBe('fine');
  expect(await slow.waitUntilFinished()).toBe('slow');
  await expect(last.waitUntilFinished()).rejects.toThrow(/timed out after 40 ms/);
  await worker.close();
  expect((await queue.getJob(slow.id))?.attemptLogs.map(({ status }) => status)).toEqual(['failed', 'completed']);
});

it('moveToDelayed, moveToFailed and discard of single jobs stand', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk(many(4, { attempts: 3 }));
  const { worker } = batchWorker(queue, store, async (batch) => {
    const [a, b, c] = batch as [Job, Job, Job, Job];
    await a.moveToDelayed(Date.now() + 60_000);
    await b.moveToFailed(new Error('for good'));
    await c.discard();
    return batch.map((_, i) => (i === 2 ? { status: 'failed', error: new Error('once') } : completed('returned')));
  });
  worker.start();
  await ended(queue, 3);
  await worker.close();
  const rows = await Promise.all(jobs.map(({ id }) => queue.getJob(id)));
  expect(rows.map((row) => [row?.state, row?.failedReason])).toEqual([
    ['delayed', null],
    ['failed', 'for good'],
    ['failed', 'once'],
    ['completed', null],
  ]);
});

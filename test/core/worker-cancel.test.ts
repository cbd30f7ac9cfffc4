import { describe, expect, it } from 'vitest';
import { FlowProducer, type Job, type Queue } from '../../src/index.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { isSettling, onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

const aborted = (signal: AbortSignal) =>
  new Promise((resolve) =>
    signal.aborted ? resolve(signal.reason) : signal.addEventListener('abort', () => resolve(signal.reason)),
  );

describe('a job that has not started', () => {
  it.each(['waiting', 'delayed'])('%s: fails as cancelled at once, and never runs', async (state) => {
    const store = await play.open();
    const queue = play.queue(store);
    const ran: string[] = [];
    const job = await queue.add('work', null, state === 'delayed' ? { delay: 60_000 } : {});
    const events: string[] = [];
    store.subscribe(queue.name, ({ type }) => void events.push(type));
    expect(await job.cancel()).toBe(true);
    expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', failedReason: 'Job cancelled' });
    expect((await rowOf(play, job))?.['cancelled_at']).toBeInstanceOf(Date);
    expect(events).toEqual(['job:cancelled', 'job:failed']);
    play.worker(queue, store, async ({ id }) => void ran.push(id));
    const next = await queue.add('work', null);
    await next.waitUntilFinished();
    expect(ran).toEqual([next.id]);
    await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
  });

  it('that has ended or is gone cannot be cancelled', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null);
    await job.moveToFailed('enough');
    expect(await job.cancel()).toBe(false);
    await job.remove();
    expect(await job.cancel()).toBe(false);
  });

  it('its parent hears of it', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const { job, children } = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: queue.name,
      data: null,
      children: [{ name: 'child', queueName: queue.name, data: null }],
    });
    await (await queue.getJob(children?.[0]?.job.id ?? ''))?.cancel();
    expect(await queue.getJob(job.id)).toMatchObject({
      state: 'failed',
      failedReason: 'Child failed: Job cancelled',
    });
  });
});

describe('an active job', () => {
  it('is told by its signal within 100 ms, in another process as well', async () => {
    const [producer, consumer] = [await play.open(), await play.open()];
    const queue = play.queue(producer);
    const told: number[] = [];
    play.worker(
      queue,
      consumer,
      async (_job, signal) => {
        await aborted(signal);
        told.push(performance.now());
      },
      { concurrency: 5 },
    );
    const took: number[] = [];
    for (let i = 0; i < 5; i++) {
      const job = await queue.add('work', null);
      await until(() => job.isActive());
      const asked = performance.now();
      expect(await job.cancel()).toBe(true);
      await until(() => told.length === i + 1);
      took.push((told[i] as number) - asked);
      await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
    }
    expect(Math.min(...took)).toBeLessThan(100);
  });

  it.each<[string, (signal: AbortSignal) => unknown]>([
    ['throws', (signal) => Promise.reject(signal.reason)],
    ['returns', () => 'done all the same'],
  ])('whose handler %s ends failed as cancelled, and is not tried again', async (_name, end) => {
    const store = await play.open();
    const queue = play.queue(store);
    let runs = 0;
    const release = deferred();
    const worker = play.worker(queue, store, async (_job, signal) => {
      runs++;
      await aborted(signal);
      await release.promise;
      return end(signal);
    });
    const heard = record(worker);
    const job = await queue.add('work', null, { attempts: 5 });
    await until(() => runs === 1);
    await job.cancel();
    await job.cancel();
    await until(() => heard.cancelled.length === 1);
    release.resolve();
    await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
    await until(() => heard.failed.length === 1);
    const row = await queue.getJob(job.id);
    expect(row).toMatchObject({
      state: 'failed',
      failedReason: 'Job cancelled',
      returnvalue: null,
      attemptsMade: 1,
    });
    expect(row?.attemptLogs).toMatchObject([{ attempt: 1, status: 'failed', error: 'Job cancelled' }]);
    expect(heard).toMatchObject({ cancelled: [job.id], completed: [], retrying: [] });
    expect(heard.failed).toMatchObject([
      { id: job.id, state: 'failed', error: { message: 'Job cancelled', code: 'JOB_CANCELLED' } },
    ]);
    expect(runs).toBe(1);
  });

  it('is told by the next renewal where notifications do not arrive', async () => {
    const [producer, consumer] = [await play.open({ listen: false }), await play.open({ listen: false })];
    const queue = play.queue(producer);
    const worker = play.worker(queue, consumer, (_job, signal) => aborted(signal), { lockDuration: 300 });
    const heard = record(worker);
    const job = await queue.add('work', null);
    await until(() => job.isActive());
    await job.cancel();
    await until(async () => (await queue.count('failed')) === 1);
    expect(heard.cancelled).toEqual([job.id]);
  });

  it('whose worker dies ends failed as cancelled, not waiting', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null, { attempts: 5 });
    await play.database.sql`update conveyor_jobs set state = 'active', lock_until = now() - interval '1 second',
      locked_by = 'a dead worker', lease = 1 where id = ${job.id}`;
    expect(await job.cancel()).toBe(true);
    play.worker(queue, store, async () => {}, { stalledInterval: 50 });
    await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
    expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', failedReason: 'Job cancelled' });
  });
});

it('claimed but not started yet: its handler is not called', async () => {
  const store = await play.open();
  const queue = play.queue<string>(store);
  const ran: unknown[] = [];
  const release = deferred();
  const worker = play.worker(
    queue,
    store,
    async (job) => {
      ran.push(job.data);
      if (job.data === 'long') await release.promise;
    },
    { autoStart: false },
  );
  await queue.addBulk(Array.from({ length: 50 }, () => ({ name: 'work', data: 'short' })));
  await queue.add('work', 'long');
  const next = await queue.add('work', 'next');
  // It is taken together with the long one, and cancelled while that runs.
  worker.start();
  await until(() => ran.includes('long'));
  expect(await next.cancel()).toBe(true);
  release.resolve();
  await expect(next.waitUntilFinished()).rejects.toThrow('Job cancelled');
  expect(ran).not.toContain('next');
});

it('taken by a claim whose answer was lost, and cancelled then: it never runs', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  const restore = onStatements(store, async (name, run) => {
    const answer = await run();
    if (!/^claim/.test(name)) return answer;
    restore();
    expect(await job.cancel()).toBe(true);
    throw new Error('the connection broke');
  });
  let runs = 0;
  record(play.worker(queue, store, () => void runs++));
  await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
  expect(runs).toBe(0);
});

it.each<[string, (job: Job, queue: Queue) => Promise<unknown>]>([
  ['retry', (job) => job.retry()],
  ['retryJobs', (_job, queue) => queue.retryJobs()],
])('a cancelled job runs again as if it had never been cancelled: %s', async (_name, retry) => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await job.cancel();
  await retry(job, queue);
  expect((await rowOf(play, job))?.['cancelled_at']).toBeNull();
  play.worker(queue, store, async (_job, signal) => (signal.aborted ? 'aborted' : 'fine'));
  expect(await job.waitUntilFinished()).toBe('fine');
});

it('the news of a cancellation that is over does not stop the retried job', async () => {
  // Another process cancels and retries; this one has claimed the job again before the first event arrives.
  const [producer, consumer] = [await play.open(), await play.open()];
  const queue = play.queue(producer);
  const release = deferred();
  const worker = play.worker(queue, consumer, () => release.promise);
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => job.isActive());
  consumer.engine.notifier.publish('job:cancelled', queue.name, job.id);
  await until(() => heard.active.length === 1);
  release.resolve('fine' as never);
  expect(await job.waitUntilFinished()).toBe('fine');
  expect(heard.cancelled).toEqual([]);
});

it('cancelled while the worker writes down its success: it is one or the other', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, async () => 'done');
  const job = await queue.add('work', null, { delay: 60_000 });
  const restore = onStatements(store, async (name, run) => {
    if (isSettling(name)) {
      restore();
      await job.cancel();
    }
    return run();
  });
  await job.promote();
  await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', returnvalue: null });
});

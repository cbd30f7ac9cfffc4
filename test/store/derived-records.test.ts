/** The record of an attempt that says nothing more than the row does: not stored, and read all the same. */
import { expect, it } from 'vitest';
import type { AttemptRecord } from '../../src/model/job.js';
import { rowOf, usePlayground } from '../support/playground.js';
import { jobIn } from '../support/rows.js';
import { claimAll, endOf, settleWith } from '../support/settling.js';

const play = usePlayground();

/** A completed job, and its only record as it is read. */
async function completed(more = {}) {
  const store = await play.open();
  const queue = play.queue(store);
  const { id, queueName } = await queue.add('work', null);
  await settleWith(store, endOf((await claimAll(store, queue.name)).get(id), 'completed', more));
  const read = async () => {
    const job = await store.getJob(queueName, id);
    if (!job) throw new Error('the job is gone');
    return job;
  };
  const stored = async () => (await rowOf(play, { id, queueName }))?.['attempt_logs'] as AttemptRecord[];
  return { store, queue, queueName, id, read, stored };
}

const BOTH = [{ attempt: 1, status: 'completed' }];

it('a first attempt that completes without logs stores none; every reader is given it', async () => {
  const { store, queue, id, read, stored } = await completed();
  expect(await stored()).toEqual([]);
  const job = await read();
  const record = {
    attempt: 1,
    startedAt: job.processedAt?.toISOString(),
    endedAt: job.completedAt?.toISOString(),
    status: 'completed',
    error: null,
    stacktrace: null,
    logs: [],
  };
  expect(job.attemptLogs).toEqual([record]);
  const found = [
    await store.findJobById(id),
    (await store.listJobs(queue.name, 'completed', 0, 10))[0],
    (await store.searchJobs({ queueName: queue.name }, 0, 10)).jobs[0],
    await queue.getJob(id),
  ];
  for (const one of found) expect(one?.attemptLogs).toEqual([record]);
});

it('the general statement stores none either', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk([
    { name: 'work', data: 1 },
    { name: 'work', data: 2 },
  ]);
  const claimed = await claimAll(store, queue.name);
  const [first, second] = jobs.map(({ id }) => claimed.get(id));
  await settleWith(store, endOf(first, 'completed'), endOf(second, 'failed'));
  const [done, failed] = await Promise.all(jobs.map((job) => rowOf(play, job)));
  expect(done?.['attempt_logs']).toEqual([]);
  expect(failed?.['attempt_logs']).toMatchObject([{ attempt: 1, status: 'failed' }]);
  expect((await queue.getJob(jobs[0]?.id ?? ''))?.attemptLogs).toMatchObject(BOTH);
});

it('one with logs is stored', async () => {
  const { read, stored } = await completed({ logs: '["line"]' });
  expect(await stored()).toMatchObject([{ attempt: 1, status: 'completed', logs: ['line'] }]);
  expect((await read()).attemptLogs).toEqual(await stored());
});

it('a job that starts over keeps it, and then has two', async () => {
  const { store, queue, id, read, stored } = await completed();
  const [record] = (await read()).attemptLogs;
  expect(await store.retryJobs(queue.name, 'completed')).toBe(1);
  expect(await stored()).toEqual([record]);
  expect(await read()).toMatchObject({ state: 'waiting', attemptsMade: 0, attemptLogs: [record] });
  await settleWith(store, endOf((await claimAll(store, queue.name)).get(id), 'completed'));
  expect(await stored()).toHaveLength(2);
  expect((await read()).attemptLogs).toMatchObject([record, { attempt: 1, status: 'completed' }]);
});

it.each([
  [{ progress: 7 }],
  [{ processedAt: null, attemptsMade: 3 }],
  [{ state: 'waiting', completedAt: null, processedAt: null } as const],
])('updateJob(%j) keeps it', async (updates) => {
  const { store, queueName, id, read, stored } = await completed();
  const { attemptLogs } = await read();
  await store.updateJob(queueName, id, updates);
  expect((await read()).attemptLogs).toEqual(attemptLogs);
  expect(await stored()).toEqual(attemptLogs);
});

it('updateJob can replace it', async () => {
  const { store, queueName, id, read } = await completed();
  await store.updateJob(queueName, id, { attemptLogs: [] });
  expect((await read()).attemptLogs).toEqual([]);
});

it('whoever makes a job completed himself keeps its records himself', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { id, queueName } = await queue.add('work', null);
  const saved = await store.saveJob(queueName, jobIn('completed', { queueName }));
  expect((await store.getJob(queueName, saved))?.attemptLogs).toEqual([]);
  const job = await store.fetchNextJob(queueName, 'w', 60_000);
  const completion = { state: 'completed', completedAt: new Date(), lockUntil: null, lockedBy: null } as const;
  await store.updateJob(queueName, job?.id ?? id, completion);
  expect((await store.getJob(queueName, id))?.attemptLogs).toEqual([]);
  // Its next life is settled by a worker.
  expect(await store.retryJobs(queueName, 'completed')).toBe(2);
  await settleWith(store, endOf((await claimAll(store, queueName)).get(id), 'completed'));
  expect((await store.getJob(queueName, id))?.attemptLogs).toMatchObject(BOTH);
});

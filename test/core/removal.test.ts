import { describe, expect, it } from 'vitest';
import { FlowProducer, type Job, type JobOptions, type Queue } from '../../src/index.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

const run = (job: { data: unknown }) => (job.data === 'bad' ? Promise.reject(new Error('bad')) : 'good');

it.each<[string, NonNullable<JobOptions['removeOnComplete']>]>([
  ['true', true],
  ['0', 0],
  ['{ age: 0 }', { age: 0 }],
  ['{ count: 0 }', { count: 0 }],
])('removeOnComplete and removeOnFail %s: gone with the end, which is told all the same', async (_name, remove) => {
  const store = await play.open();
  const queue = play.queue(store, { defaultJobOptions: { removeOnComplete: remove, removeOnFail: remove } });
  const events: string[] = [];
  store.subscribe(queue.name, ({ type, jobId }) => void events.push(`${type} ${jobId}`));
  const heard = record(play.worker(queue, store, run));
  const [good, bad] = [await queue.add('work', 'good'), await queue.add('work', 'bad')];
  await until(() => heard.completed.length === 1 && heard.failed.length === 1);
  expect(await rowOf(play, good)).toBeUndefined();
  expect(await rowOf(play, bad)).toBeUndefined();
  expect(events).toContain(`job:completed ${good.id}`);
  expect(events).toContain(`job:failed ${bad.id}`);
});

it('only the final failure removes a job', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const heard = record(play.worker(queue, store, run));
  const job = await queue.add('work', 'bad', { removeOnFail: true, attempts: 3 });
  await until(() => heard.failed.length === 1);
  expect(heard.retrying.map(({ state }) => state)).toEqual(['waiting', 'waiting']);
  expect(heard.failed.map(({ state }) => state)).toEqual(['failed']);
  expect(await rowOf(play, job)).toBeUndefined();
});

it('each option is for its own end', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, run);
  await queue.add('work', 'good', { removeOnFail: true });
  await queue.add('work', 'bad', { removeOnComplete: true });
  await until(async () => (await queue.count('completed')) === 1 && (await queue.count('failed')) === 1);
});

it('a number keeps the job so long, and then it is deleted, each by its own age', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, run, { stalledInterval: 50 });
  const short = await queue.add('work', 'good', { removeOnComplete: 200 });
  const shortBad = await queue.add('work', 'bad', { removeOnFail: 200 });
  const aged = await queue.add('work', 'good', { removeOnComplete: { age: '200ms', count: 1_000 } });
  const long = await queue.add('work', 'good', { removeOnComplete: '1 minute' });
  const forever = await queue.add('work', 'good', { removeOnComplete: false });
  expect(await short.waitUntilFinished()).toBe('good');
  await forever.waitUntilFinished();
  await until(async () => !(await rowOf(play, short)) && !(await rowOf(play, shortBad)) && !(await rowOf(play, aged)));
  const row = await rowOf(play, long);
  expect(Number(row?.['remove_at']) - Number(row?.['completed_at'])).toBe(60_000);
  expect((await rowOf(play, forever))?.['remove_at']).toBeNull();
});

it('the object form applies to every way to fail', async () => {
  const store = await play.open();
  const queue = play.queue(store, { defaultJobOptions: { removeOnFail: { age: '1 minute', count: 50 } } });
  const cancelled = await queue.add('work', 'good');
  await cancelled.cancel();
  const failed = await queue.add('work', 'good');
  await failed.moveToFailed('by hand');
  const stalled = await queue.add('work', 'good');
  await play.database.sql`update conveyor_jobs set state = 'active', stalled_count = 9, lease = 1,
    started_lease = 1, started_alone = true where id = ${stalled.id}`;
  play.worker(queue, store, run);
  await until(async () => (await queue.count('failed')) === 3);
  for (const job of [cancelled, failed, stalled]) {
    const row = await rowOf(play, job);
    expect(Number(row?.['remove_at']) - Number(row?.['failed_at'])).toBe(60_000);
  }
});

it('a count keeps the newest ones; the others go with the next upkeep of a process with a worker', async () => {
  const store = await play.open();
  const queue = play.queue(store, { defaultJobOptions: { removeOnComplete: { count: 3 } } });
  const worker = play.worker(queue, store, run);
  const jobs = await queue.addBulk(Array.from({ length: 10 }, () => ({ name: 'work', data: 'good' })));
  for (const job of jobs) await job.waitUntilFinished('10s');
  await worker.close();
  // It begins with one.
  play.worker(queue, await play.open(), run);
  await until(async () => (await queue.count('completed')) === 3);
  expect((await queue.getJobs('completed')).map(({ opts }) => opts.removeOnComplete)).toEqual(
    Array.from({ length: 3 }, () => ({ count: 3 })),
  );
});

it('a job that is retried is not deleted by the age of its first end', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', 'bad', { removeOnFail: 60_000 });
  const worker = play.worker(queue, store, run);
  await until(async () => (await queue.count('failed')) === 1);
  await worker.close();
  expect((await rowOf(play, job))?.['remove_at']).toBeInstanceOf(Date);
  await job.retry();
  expect((await rowOf(play, job))?.['remove_at']).toBeNull();
});

describe('a parent that runs later gets the values of children that are gone', () => {
  const keep = async () => {};
  it.each<[string, JobOptions, (child: Job, queue: Queue) => Promise<unknown>]>([
    ['removed with their end', { removeOnComplete: true }, keep],
    ['removed by their age', { removeOnComplete: 50 }, keep],
    ['removed by hand after their end', {}, (child) => child.remove()],
    ['cleaned', {}, (_child, queue) => queue.clean('completed', 0)],
  ])('%s', async (_name, opts, remove) => {
    const store = await play.open();
    const [parents, children] = [play.queue(store), play.queue(store)];
    const release = deferred();
    play.worker(parents, store, (job) => job.getChildrenValues());
    play.worker(
      children,
      store,
      async ({ data }) => {
        if (data === 'there') await release.promise;
        return data;
      },
      { concurrency: 2, stalledInterval: 50 },
    );
    const child = (data: string, opts?: JobOptions) => ({
      ...{ name: 'child', queueName: children.name, data },
      ...(opts && { opts }),
    });
    const { job, children: nodes } = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: parents.name,
      data: null,
      children: [child('gone', opts), child('there')],
    });
    const [gone, there] = (nodes ?? []).map((node) => node.job.id) as [string, string];
    const removed = () => children.getJob(gone).then((found) => found === null);
    const ended = await until(async () => (await removed()) || (await children.getJobs('completed'))[0]);
    if (ended !== true) await remove(ended, children);
    await until(removed);
    const parent = await parents.getJob(job.id);
    expect(await parent?.getChildrenValues()).toEqual({ [gone]: 'gone' });
    release.resolve();
    expect(await parent?.waitUntilFinished()).toEqual({ [gone]: 'gone', [there]: 'there' });
  });

  it('and no value of one that was removed before its end: that is a failure', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const { job, children } = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: queue.name,
      data: null,
      opts: { failParentOnChildFailure: 'ignore' },
      children: [{ name: 'child', queueName: queue.name, data: null }],
    });
    await (await queue.getJob(children?.[0]?.job.id ?? ''))?.remove();
    const parent = await queue.getJob(job.id);
    expect(parent?.state).toBe('waiting');
    expect(await parent?.getChildrenValues()).toEqual({});
  });
});

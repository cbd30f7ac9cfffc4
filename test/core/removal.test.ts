import { expect, it } from 'vitest';
import { until } from '../support/until.js';
import { record, rowOf, usePlayground } from './setup.js';

const play = usePlayground();

const run = (job: { data: unknown }) => (job.data === 'bad' ? Promise.reject(new Error('bad')) : 'good');

it.each([
  ['true', true],
  ['0', 0],
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
  await until(() => heard.failed.length === 3);
  expect(heard.failed.map(({ state }) => state)).toEqual(['waiting', 'waiting', 'failed']);
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
  const long = await queue.add('work', 'good', { removeOnComplete: 60_000 });
  const forever = await queue.add('work', 'good', { removeOnComplete: false });
  expect(await short.waitUntilFinished()).toBe('good');
  await forever.waitUntilFinished();
  await until(async () => !(await rowOf(play, short)) && !(await rowOf(play, shortBad)));
  const row = await rowOf(play, long);
  expect(Number(row?.['remove_at']) - Number(row?.['completed_at'])).toBe(60_000);
  expect((await rowOf(play, forever))?.['remove_at']).toBeNull();
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

it('a parent gets the values of children that are gone', async () => {
  const { FlowProducer } = await import('../../src/index.js');
  const store = await play.open();
  const [parents, children] = [play.queue(store), play.queue(store)];
  play.worker(parents, store, (job) => job.getChildrenValues());
  play.worker(children, store, ({ data }) => data);
  const { job, children: nodes } = await new FlowProducer({ store }).add({
    name: 'parent',
    queueName: parents.name,
    data: null,
    children: [
      { name: 'child', queueName: children.name, data: 'gone', opts: { removeOnComplete: true } },
      { name: 'child', queueName: children.name, data: 'there' },
    ],
  });
  const [gone, there] = (nodes ?? []).map((node) => node.job.id) as [string, string];
  expect(await (await parents.getJob(job.id))?.waitUntilFinished()).toEqual({ [gone]: 'gone', [there]: 'there' });
});

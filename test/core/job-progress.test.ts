import { expect, it } from 'vitest';
import { JobNotFoundError } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

const play = usePlayground();

it.each([0, 0.25, 33.333, 100])('%d is stored as it is', async (progress) => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await job.updateProgress(progress);
  expect(job.progress).toBe(progress);
  expect((await queue.getJob(job.id))?.progress).toBe(progress);
});

it('is told to observers in other processes', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const job = await queue.add('work', null, { delay: 60_000 });
  const heard: unknown[] = [];
  const { Queue } = await import('../../src/index.js');
  const observable = new Queue(queue.name, { store: other }).observe(job.id);
  observable.subscribe({ onProgress: (_job, progress) => heard.push(progress) });
  await job.updateProgress(10);
  await until(() => heard.includes(10));
  await job.updateProgress(20);
  await until(() => heard.includes(20));
  observable.dispose();
});

it('of a job that is gone is an error', async () => {
  const store = await play.open();
  const job = await play.queue(store).add('work', null);
  await job.remove();
  await expect(job.updateProgress(5)).rejects.toBeInstanceOf(JobNotFoundError);
});

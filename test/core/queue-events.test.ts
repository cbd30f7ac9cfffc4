import { setImmediate } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { Job, type Queue } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

const NAMES = ['waiting', 'delayed', 'paused', 'resumed', 'drained', 'error'] as const;

/** All events of a queue from now on: `[event, name, state]` for jobs. */
function listen(queue: Queue): unknown[] {
  const heard: unknown[] = [];
  for (const event of NAMES) {
    queue.events.on(event, (payload: unknown) => {
      heard.push(payload instanceof Job ? [event, payload.name, payload.state] : [event, payload]);
    });
  }
  return heard;
}

it('waiting and delayed carry the job that was added, by whatever method', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const heard = listen(queue);
  const jobs: Job[] = [];
  queue.events.on('waiting', (job) => void jobs.push(job));
  queue.events.on('delayed', (job) => void jobs.push(job));
  const added = [
    await queue.add('add', 1),
    await queue.add('add', 2, { delay: 60_000 }),
    await queue.schedule('1 hour', 'schedule', 3),
    await queue.now('now', 4),
    await queue.every('1 hour', 'every', 5),
    await queue.cron('0 0 1 1 *', 'cron', 6),
    await queue.add('grouped', 7, { group: { id: 'g', maxSize: 5 } }),
    ...(await queue.addBulk([
      { name: 'bulk', data: 8 },
      { name: 'bulk', data: 9, opts: { delay: 60_000 } },
    ])),
  ];
  expect(heard).toEqual([
    ['waiting', 'add', 'waiting'],
    ['delayed', 'add', 'delayed'],
    ['delayed', 'schedule', 'delayed'],
    ['waiting', 'now', 'waiting'],
    ['waiting', 'every', 'waiting'],
    ['delayed', 'cron', 'delayed'],
    ['waiting', 'grouped', 'waiting'],
    ['waiting', 'bulk', 'waiting'],
    ['delayed', 'bulk', 'delayed'],
  ]);
  // The very jobs that the calls returned: all of their methods work.
  expect(jobs).toEqual(added);
  expect(jobs.map(({ id }) => id)).toEqual(added.map(({ id }) => id));
  await jobs[0]?.moveToFailed('from the event');
  expect(await added[0]?.isFailed()).toBe(true);
});

it('a job that was there already is not told again', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const add = async () => {
    await queue.add('id', 1, { jobId: 'x' });
    await queue.add('key', 1, { deduplication: { key: 'k' } });
    await queue.addBulk([{ name: 'bulk', data: 1, opts: { jobId: 'y' } }]);
    await queue.every('1 hour', 'every', 1);
  };
  await add();
  const heard = listen(queue);
  await add();
  expect(heard).toEqual([]);
});

it('paused and resumed carry the name they are about, drained nothing', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const heard = listen(queue);
  const news: unknown[] = [];
  store.subscribe(queue.name, ({ type, data }) => void news.push([type, data]));
  await queue.pause({ jobName: 'a' });
  await queue.pause();
  await queue.resume({ jobName: 'a' });
  await queue.resume();
  await queue.drain();
  expect(heard).toEqual([
    ['paused', { jobName: 'a' }],
    ['paused', { jobName: undefined }],
    ['resumed', { jobName: 'a' }],
    ['resumed', { jobName: undefined }],
    ['drained', undefined],
  ]);
  expect(news).toEqual([
    ['queue:paused', { jobName: 'a' }],
    ['queue:paused', { jobName: undefined }],
    ['queue:resumed', { jobName: 'a' }],
    ['queue:resumed', { jobName: undefined }],
    ['queue:drained', undefined],
  ]);
});

it('a handler that throws stops no call: its error is told, else logged', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  queue.events.on('waiting', () => {
    throw new Error('a bad handler');
  });
  const errors = () => play.said.filter(({ level }) => level === 'error');
  expect((await queue.add('work', 1)).state).toBe('waiting');
  expect(errors()).toMatchObject([{ args: [new Error('a bad handler')] }]);
  const heard: unknown[] = [];
  queue.events.on('error', (error) => void heard.push(error));
  await queue.add('work', 2);
  expect(heard).toEqual([new Error('a bad handler')]);
  expect(errors()).toHaveLength(1);
});

it('who leaves hears nothing more, and a closed queue tells nobody', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const heard: string[] = [];
  const handler = (job: { name: string }) => void heard.push(job.name);
  queue.events.on('waiting', handler);
  await queue.add('first', null);
  queue.events.off('waiting', handler);
  await queue.add('second', null);
  queue.events.on('waiting', handler);
  await queue.close();
  expect(queue.events.has('waiting')).toBe(false);
  expect(heard).toEqual(['first']);
});

it("an app's own event with an invalid time takes no other with it on its way to other processes", async () => {
  const store = await play.open();
  const other = await play.open();
  const queue = play.queue(store);
  const heard: (string | undefined)[] = [];
  other.subscribe(queue.name, ({ jobId }) => void heard.push(jobId));
  const publish = (jobId: string, timestamp: Date) =>
    store.publish({ type: 'job:active', queueName: queue.name, jobId, timestamp });
  await until(async () => {
    await publish('knock', new Date());
    return heard.length > 0;
  });
  await store.engine.notifier.flush();
  // Together in one payload, for the first one is on its way already.
  await publish('first', new Date());
  await publish('odd', new Date(Number.NaN));
  await publish('last', new Date());
  await until(() => heard.includes('last'));
  expect(heard.filter((id) => id !== 'knock')).toEqual(['first', 'odd', 'last']);
});

it('what a subscriber here does with an event, or publishes because of it, comes after it for other processes', async () => {
  const store = await play.open();
  const other = await play.open();
  const queue = play.queue(store);
  const heard: unknown[] = [];
  other.subscribe(queue.name, ({ jobId, data }) => void heard.push([jobId, data]));
  const publish = (jobId: string, data: unknown) =>
    store.publish({ type: 'job:completed', queueName: queue.name, jobId, data, timestamp: new Date() });
  await until(async () => {
    await publish('knock', null);
    return heard.length > 0;
  });
  heard.length = 0;
  store.subscribe(queue.name, (event) => {
    if (event.jobId !== 'cause') return;
    Object.assign(event.data as object, { spoiled: true });
    void publish('effect', null);
  });
  await publish('cause', { spoiled: false });
  await until(() => heard.some((one) => String(one).startsWith('effect')));
  expect(heard.filter((one) => !String(one).startsWith('knock'))).toEqual([
    ['cause', { spoiled: false }],
    ['effect', null],
  ]);
});

it('what is settled while the store closes reaches other processes, and so does what comes after it is back', async () => {
  const store = await play.open();
  const other = await play.open();
  const queue = play.queue(store);
  const heard: unknown[] = [];
  other.subscribe(queue.name, ({ type, jobId }) => void heard.push([type, jobId]));
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise);
  const job = await queue.add('work', null);
  await until(() => heard.some((one) => String(one) === `job:active,${job.id}`));
  // While time stands still, all that follows the first notification waits to travel together.
  vi.useFakeTimers({ toFake: ['performance'] });
  const news = (jobId: string) =>
    ({ type: 'job:removed', queueName: queue.name, jobId, timestamp: new Date() }) as const;
  await store.publish(news('first'));
  release.resolve();
  const settled = deferred();
  worker.on('completed', () => settled.resolve());
  const offClose = store.engine.onClose(() => store.engine.notifier.publish('job:removed', queue.name, 'too late'));
  const closed = setImmediate().then(() => store.disconnect());
  await settled.promise;
  await closed;
  vi.useRealTimers();
  offClose();
  await until(() => heard.some((one) => String(one) === `job:completed,${job.id}`));
  await store.connect();
  await store.publish(news('back'));
  await until(() => heard.some((one) => String(one) === 'job:removed,back'));
});

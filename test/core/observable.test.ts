import { expect, it } from 'vitest';
import { JobObservable, type JobObserver } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

function listen(): JobObserver & { heard: unknown[] } {
  const heard: unknown[] = [];
  return {
    heard,
    onActive: () => heard.push('active'),
    onProgress: (progress) => heard.push(progress),
    onCompleted: (result) => heard.push({ completed: result }),
    onFailed: (error) => heard.push({ failed: error.message }),
    onCancelled: () => heard.push('cancelled'),
  };
}

it('tells what happens to a job, from another process', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const [started, release] = [deferred(), deferred()];
  play.worker(queue, other, async (job) => {
    started.resolve();
    await job.updateProgress(40);
    await release.promise;
    return 'done';
  });
  const job = await queue.add('work', null, { delay: 60_000 });
  const observer = listen();
  const observable = job.observe();
  observable.subscribe(observer);
  await job.promote();
  await started.promise;
  await until(() => observer.heard.includes(40));
  release.resolve();
  await until(() => observer.heard.length === 3);
  expect(observer.heard).toEqual(['active', 40, { completed: 'done' }]);
});

it('a late subscriber hears the end at once, and each hears it once', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, () => 'done');
  const job = await queue.add('work', null);
  const observable = queue.observe(job.id);
  const [first, second, late] = [listen(), listen(), listen()];
  observable.subscribe(first);
  observable.subscribe(second);
  const ended = { completed: 'done' };
  await until(() => [first, second].every(({ heard }) => heard.some((event) => typeof event === 'object')));
  observable.subscribe(late);
  expect(late.heard).toEqual([ended]);
  // The same event a second time, and the tables are read again.
  store.engine.notifier.publishEvent({
    type: 'job:completed',
    queueName: queue.name,
    jobId: job.id,
    timestamp: new Date(),
    data: { returnvalue: 'again' },
  });
  // A later event has arrived: so has this one.
  const [next, after] = [await queue.add('work', null), listen()];
  queue.observe(next.id).subscribe(after);
  await until(() => after.heard.some((event) => typeof event === 'object'));
  for (const { heard } of [first, second, late]) {
    expect(heard.filter((event) => event !== 'active')).toEqual([ended]);
  }
});

it('an observable of a job that has long ended tells the end', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await job.moveToFailed('long ago');
  const observer = listen();
  new JobObservable(job.id, queue.name, other).subscribe(observer);
  await until(() => observer.heard.length > 0);
  expect(observer.heard).toEqual([{ failed: 'long ago' }]);
});

it('a job that does not exist fails its observer', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const observer = listen();
  queue.observe('no such job').subscribe(observer);
  await until(() => observer.heard.length > 0);
  expect(observer.heard).toEqual([{ failed: expect.stringContaining('does not exist') }]);
});

it('cancel() stops a waiting job and tells an active one', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const waiting = listen();
  const first = queue.observe((await queue.add('work', null)).id);
  first.subscribe(waiting);
  expect(await first.cancel()).toBe(true);
  await until(() => waiting.heard.length > 0);
  expect(waiting.heard).toEqual(['cancelled']);

  play.worker(queue, store, (_job, signal) => new Promise((resolve) => signal.addEventListener('abort', resolve)));
  const active = listen();
  const second = queue.observe((await queue.add('work', null)).id);
  second.subscribe(active);
  await until(() => active.heard.includes('active'));
  expect(await second.cancel()).toBe(true);
  await until(() => active.heard.includes('cancelled'));
  expect(active.heard).toEqual(['active', 'cancelled']);
  expect(await second.cancel()).toBe(false);
});

it('each attempt is told as active', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { attempts: 3 });
  const observer = listen();
  job.observe().subscribe(observer);
  play.worker(queue, store, ({ attemptsMade }) => (attemptsMade < 2 ? Promise.reject(new Error('no')) : 'yes'));
  await until(() => observer.heard.some((event) => typeof event === 'object'));
  expect(observer.heard).toEqual(['active', 'active', 'active', { completed: 'yes' }]);
});

it('who unsubscribes hears nothing more, and dispose() ends it for all', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { delay: 60_000 });
  const [first, second, third] = [listen(), listen(), listen()];
  const observable = queue.observe(job.id);
  const leave = observable.subscribe(first);
  observable.subscribe(second);
  leave();
  leave();
  await job.updateProgress(1);
  await until(() => second.heard.includes(1));
  observable.dispose();
  const again = queue.observe(job.id);
  again.subscribe(third);
  await job.updateProgress(2);
  await until(() => third.heard.includes(2));
  expect([first.heard, second.heard]).toEqual([[], [1]]);
  again.dispose();
});

it('an observer that throws does not keep the others from hearing', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { delay: 60_000 });
  const observable = queue.observe(job.id);
  const good = listen();
  observable.subscribe({
    onCancelled: () => {
      throw new Error('bad observer');
    },
  });
  observable.subscribe(good);
  await job.cancel();
  await until(() => good.heard.length === 1);
  const errors = play.said.filter(({ level }) => level === 'error');
  expect(errors).toMatchObject([{ args: [new Error('bad observer')] }]);
});

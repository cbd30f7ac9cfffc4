import { describe, expect, it } from 'vitest';
import { type JobData, JobObservable, type JobObserver } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { countStatements, onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

function listen(): JobObserver & { heard: unknown[] } {
  const heard: unknown[] = [];
  return {
    heard,
    onActive: () => heard.push('active'),
    onProgress: (_job, progress) => heard.push(progress),
    onCompleted: (_job, result) => heard.push({ completed: result }),
    onFailed: (_job, reason) => heard.push({ failed: reason }),
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
    data: 'again',
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

it('also when its event overtakes that of the failure before it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { id } = await queue.add('work', null, { delay: 60_000 });
  const observer = listen();
  const observable = queue.observe(id);
  observable.subscribe(observer);
  const { notifier } = store.engine;
  notifier.publish('job:active', queue.name, id);
  notifier.publish('job:active', queue.name, id, { attemptsMade: 1 });
  notifier.publish('job:waiting', queue.name, id, { attemptsMade: 1, failedReason: 'no' });
  await until(() => observer.heard.length === 2);
  const late = listen();
  observable.subscribe(late);
  await until(() => late.heard.length === 1);
  // As a worker of 0.1.0 tells it: without the number.
  notifier.publish('job:waiting', queue.name, id, { attemptsMade: 2, failedReason: 'no' });
  notifier.publish('job:active', queue.name, id);
  await until(() => observer.heard.length === 3);
  expect(late.heard).toEqual(['active', 'active']);
  observable.dispose();
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

describe('an observer gets the job first', () => {
  /** All calls: the method, the job, the value. */
  function recorder() {
    const calls: [string, JobData, unknown][] = [];
    const note =
      (method: string) =>
      (job: JobData, value?: unknown): void =>
        void calls.push([method, job, value]);
    const observer: JobObserver = {
      onActive: note('onActive'),
      onProgress: note('onProgress'),
      onCompleted: note('onCompleted'),
      onFailed: note('onFailed'),
      onCancelled: note('onCancelled'),
    };
    return { calls, observer };
  }
  const ended = ({ calls }: ReturnType<typeof recorder>) => calls.some(([method]) => !/Active|Progress/.test(method));

  it('then the value; also when it subscribes late', async () => {
    const [store, other] = [await play.open(), await play.open()];
    const queue = play.queue(store);
    const [started, release] = [deferred(), deferred()];
    play.worker(queue, other, async (job) => {
      await job.updateProgress(40);
      started.resolve();
      await release.promise;
      return { sum: 3 };
    });
    const { id } = await queue.add('work', { n: 1 }, { delay: 60_000 });
    const observable = queue.observe(id);
    const [first, second, late, last] = [recorder(), recorder(), recorder(), recorder()];
    observable.subscribe(first.observer);
    await queue.promoteJobs();
    await started.promise;
    const progressed = ({ calls }: ReturnType<typeof recorder>) => calls.some(([method]) => method === 'onProgress');
    await until(() => progressed(first));
    observable.subscribe(second.observer);
    await until(() => progressed(second));
    release.resolve();
    await until(() => ended(first) && ended(second));
    observable.subscribe(late.observer);
    queue.observe(id).subscribe(last.observer);
    await until(() => ended(last));

    const job = { id, name: 'work', queueName: queue.name, data: { n: 1 } };
    const completed = { ...job, state: 'completed', progress: 40, returnvalue: { sum: 3 }, attemptsMade: 0 };
    const end = ['onCompleted', { ...completed, completedAt: expect.any(Date), lockedBy: null }, { sum: 3 }];
    for (const { calls } of [first, second]) {
      // A progress that was read may be told by its event as well.
      const once = calls.filter(([, , value], i) => i === 0 || value !== calls[i - 1]?.[2]);
      expect(once).toMatchObject([
        ['onActive', { ...job, state: 'active', lockedBy: expect.any(String) }, undefined],
        ['onProgress', { ...job, state: 'active', progress: 40 }, 40],
        end,
      ]);
    }
    expect(late.calls).toMatchObject([end]);
    expect(last.calls).toMatchObject([end]);
  });

  it('and the reason of a failure as text, with all that the row says of it', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', 7, { attempts: 2 });
    const { calls, observer } = recorder();
    job.observe().subscribe(observer);
    play.worker(queue, store, () => Promise.reject(new Error('no')));
    await until(() => calls.some(([method]) => method === 'onFailed'));
    expect(calls.at(-1)).toMatchObject([
      'onFailed',
      {
        id: job.id,
        data: 7,
        state: 'failed',
        attemptsMade: 2,
        failedReason: 'no',
        stacktrace: [expect.stringContaining('no'), expect.stringContaining('no')],
      },
      'no',
    ]);
  });

  it('of a cancelled one as well', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', 7);
    const { calls, observer } = recorder();
    queue.observe(job.id).subscribe(observer);
    await job.cancel();
    await until(() => calls.length > 0);
    expect(calls).toMatchObject([
      ['onCancelled', { id: job.id, data: 7, state: 'failed', failedReason: 'Job cancelled' }, undefined],
    ]);
  });

  it('of one that is removed with its end as it was before, with the end', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', { n: 1 }, { removeOnComplete: true, delay: 60_000 });
    const [known, read, unknown] = [recorder(), recorder(), recorder()];
    job.observe().subscribe(known.observer);
    const statements = countStatements(store);
    queue.observe(job.id).subscribe(read.observer);
    await until(() => statements.answered('get jobs') > 0);
    play.worker(queue, store, () => 'done');
    await job.promote();
    await until(() => ended(known) && ended(read));
    queue.observe(job.id).subscribe(unknown.observer);
    await until(() => ended(unknown));
    const end = { id: job.id, queueName: queue.name, state: 'completed', returnvalue: 'done' };
    expect(await queue.getJob(job.id)).toBeNull();
    expect(known.calls.at(-1)).toMatchObject(['onCompleted', { ...end, name: 'work', data: { n: 1 } }, 'done']);
    expect(read.calls.at(-1)).toMatchObject(['onCompleted', { ...end, name: 'work', data: { n: 1 } }, 'done']);
    expect(unknown.calls).toMatchObject([['onCompleted', { ...end, name: '', data: null }, 'done']]);
  });

  it('in copies: what one does with it is nothing to the others', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', { n: [1] });
    const observable = job.observe();
    const { calls, observer } = recorder();
    observable.subscribe({
      onFailed: (spoilt) => {
        (spoilt.data as { n: number[] }).n.push(2);
        spoilt.logs.push('spoilt');
        spoilt.createdAt.setTime(0);
      },
    });
    observable.subscribe(observer);
    await job.moveToFailed('x');
    await until(() => ended({ calls, observer }));
    expect(calls[0]?.[1]).toMatchObject({ data: { n: [1] }, logs: [], createdAt: job.createdAt });
    expect(job.data).toEqual({ n: [1] });
  });
});

it('an observer ends without the data that the database does not give', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  onStatements(store, (name, run) => (name === 'get jobs' ? Promise.reject(new Error('away')) : run()));
  const observer = listen();
  queue.observe(job.id).subscribe(observer);
  await job.moveToFailed('x');
  await until(() => observer.heard.length > 0);
  expect(observer.heard).toEqual([{ failed: 'x' }]);
});

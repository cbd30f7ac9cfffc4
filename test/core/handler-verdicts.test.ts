import { expect, it } from 'vitest';
import { InvalidJobStateError, type Job, LeaseLostError } from '../../src/index.js';
import { record, usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

/** Runs one job through a handler, until the worker has settled it once. */
async function runOnce(run: (job: Job) => unknown, opts = {}) {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, (job) => run(job as Job), { autoStart: false });
  const heard = record(worker);
  const job = await queue.add('work', null, opts);
  worker.start();
  await until(() => heard.active.length > 0);
  await worker.close();
  return { queue, heard, job: (await queue.getJob(job.id)) as Job };
}

it.each<[string, (job: Job) => unknown]>([
  ['returns', () => 'a result'],
  ['throws', () => Promise.reject(new Error('thrown after'))],
])('moveToDelayed stands, though the handler %s', async (_name, after) => {
  const until = Date.now() + 60_000;
  const { job, heard } = await runOnce(
    async (job) => {
      await job.moveToDelayed(until);
      return after(job);
    },
    { attempts: 3 },
  );
  expect(job).toMatchObject({
    state: 'delayed',
    attemptsMade: 0,
    returnvalue: null,
    failedReason: null,
    attemptLogs: [],
  });
  expect(job.delayUntil).toEqual(new Date(until));
  expect(job.lockedBy).toBeNull();
  expect(heard).toMatchObject({ completed: [], failed: [], errors: [] });
});

it('moveToDelayed takes a Date, and no time that has passed', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  play.worker(queue, store, async (job) => {
    for (const past of [new Date(-8.64e15), 0, Date.now() - 1, Date.now(), Number.NaN, 8.64e15 + 1]) {
      await expect(job.moveToDelayed(past)).rejects.toThrow(/moveToDelayed\(.*a time in the future/);
    }
    if (++runs === 1) await job.moveToDelayed(new Date(Date.now() + 20));
    return runs;
  });
  expect(await (await queue.add('work', null)).waitUntilFinished()).toBe(2);
});

it('a job put off runs again when it is due, and its attempt did not count', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  play.worker(queue, store, async (job) => {
    if (++runs <= 3) await job.moveToDelayed(Date.now() + 30);
    return job.attemptsMade;
  });
  expect(await (await queue.add('work', null, { attempts: 1 })).waitUntilFinished()).toBe(0);
  expect(runs).toBe(4);
});

it.each<[string, (job: Job) => unknown]>([
  ['returns', () => 'a result'],
  ['throws something else', () => Promise.reject(new Error('thrown after'))],
])('moveToFailed stands, though the handler %s and attempts are left', async (_name, after) => {
  const { job, heard } = await runOnce(
    async (job) => {
      await job.moveToFailed(new Error('for good'));
      return after(job);
    },
    { attempts: 3 },
  );
  expect(job).toMatchObject({ state: 'failed', attemptsMade: 1, returnvalue: null, failedReason: 'for good' });
  expect(job.attemptLogs).toMatchObject([{ attempt: 1, status: 'failed', error: 'for good' }]);
  expect(heard.failed).toMatchObject([{ error: new Error('for good'), state: 'failed' }]);
});

it('the last word counts', async () => {
  const { job } = await runOnce(async (job) => {
    await job.moveToDelayed(Date.now() + 60_000);
    await job.moveToFailed('no, rather not');
  });
  expect(job).toMatchObject({ state: 'failed', failedReason: 'no, rather not' });
});

it.each<[string, (job: Job) => unknown, object]>([
  [
    'fails it for good when the handler throws',
    () => Promise.reject(new Error('once')),
    { state: 'failed', failedReason: 'once', attemptsMade: 1 },
  ],
  ['does not matter when it returns', () => 'fine', { state: 'completed', returnvalue: 'fine' }],
])('discard %s', async (_name, after, expected) => {
  const { job } = await runOnce(
    async (job) => {
      await job.discard();
      return after(job);
    },
    { attempts: 5 },
  );
  expect(job).toMatchObject({ ...expected, discarded: true });
});

it('discard takes effect at once, however long it takes to write it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const settled = deferred();
  onStatements(store, async (name, run) => {
    if (name === 'discard job') await settled.promise;
    return run();
  });
  let runs = 0;
  play.worker(queue, store, async (job) => {
    runs++;
    job.discard().catch(() => {});
    throw new Error('once');
  });
  const job = await queue.add('work', null, { attempts: 5 });
  await expect(job.waitUntilFinished()).rejects.toThrow('once');
  settled.resolve();
  expect(runs).toBe(1);
});

it('discarded from outside while it runs, it is not tried again', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  const id = 'the job';
  play.worker(queue, store, async () => {
    runs++;
    await (await queue.getJob(id))?.discard();
    throw new Error('once');
  });
  await expect((await queue.add('work', null, { jobId: id, attempts: 5 })).waitUntilFinished()).rejects.toThrow('once');
  expect(runs).toBe(1);
});

it('retry() of an active job is refused: it would run twice', async () => {
  const { job } = await runOnce(async (job) => {
    await expect(job.retry()).rejects.toBeInstanceOf(InvalidJobStateError);
    return 'fine';
  });
  expect(job).toMatchObject({ state: 'completed', returnvalue: 'fine' });
});

it('updateData and updateProgress of the handler are kept', async () => {
  const { job } = await runOnce(async (job) => {
    await job.updateData({ step: 2 });
    await job.updateProgress(33.3);
    expect(job.data).toEqual({ step: 2 });
    expect(job.progress).toBe(33.3);
  });
  expect(job).toMatchObject({ state: 'completed', data: { step: 2 }, progress: 33.3 });
});

it('a data change survives the attempt that made it: the next one goes on from there', async () => {
  const store = await play.open();
  const queue = play.queue<{ step: number }>(store);
  const steps: number[] = [];
  play.worker(queue, store, async (job) => {
    const { step } = job.data as { step: number };
    steps.push(step);
    await job.updateData({ step: step + 1 });
    if (step < 3) throw new Error('again');
  });
  await (await queue.add('work', { step: 1 }, { attempts: 5 })).waitUntilFinished();
  expect(steps).toEqual([1, 2, 3]);
});

it('a handler may remove its own job: nobody is to blame, and the next one runs', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, async (job, signal) => {
    if (job.data !== 'remove') return 'done';
    await job.remove();
    expect(signal.aborted).toBe(false);
    await expect(job.log('late')).rejects.toThrow(LeaseLostError);
    return 'for nobody';
  });
  const heard = record(worker);
  const removed = await queue.add('work', 'remove');
  const next = await queue.add('work', 'next');
  expect(await next.waitUntilFinished()).toBe('done');
  expect(await queue.getJob(removed.id)).toBeNull();
  await worker.close();
  expect(heard).toMatchObject({ completed: [{ id: next.id }], failed: [], errors: [] });
});

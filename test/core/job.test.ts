import { describe, expect, it } from 'vitest';
import { FlowProducer, InvalidJobStateError, Job, JobNotFoundError } from '../../src/index.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

it('can be made over any saved job, and shows all of it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { id } = await queue.add('work', { n: 1 }, { group: { id: 'g' }, deduplication: { key: 'k' }, delay: 60_000 });
  const data = await store.getJob(queue.name, id);
  const job = new Job(data!, store);
  expect(job.toJSON()).toEqual(data);
  for (const key of Object.keys(data!) as (keyof Job)[]) expect(job[key], key).toEqual(data![key as 'id']);
  expect(JSON.parse(JSON.stringify(job))).toMatchObject({ id, data: { n: 1 }, groupId: 'g', deduplicationKey: 'k' });
});

it('gives out copies: changing them changes nothing inside, nor of the job that its listeners get', async () => {
  const store = await play.open();
  const queue = play.queue(store, { defaultJobOptions: { group: { id: 'g' } } });
  const worker = play.worker(queue, store, async (job) => {
    await job.log('line');
    if (job.attemptsMade === 0) throw new Error('no');
    spoil(job);
    return { list: [1] };
  });
  const completed = new Promise<Job>((resolve) => worker.on('completed', ({ job }) => resolve(job as Job)));
  const job = await queue.add('work', { n: 1 }, { attempts: 2 });
  const saved = await completed.then(async () => (await queue.getJob(job.id)) as Job);
  for (const each of [job, saved, await completed]) {
    const before = each.toJSON();
    expect(spoil(each)).toBeGreaterThan(2);
    const copied = each.toJSON();
    (copied.data as { n: number }).n = 2;
    copied.logs.push('spoilt');
    copied.createdAt.setTime(0);
    expect(each.toJSON()).toEqual(before);
  }
  expect((await completed).logs).toEqual(['line', 'line']);
  expect((await queue.add('work', null)).opts).toEqual({ group: { id: 'g' } });
  // The payload itself is not one: a handler may build on it.
  expect(job.data).toBe(job.data);
});

/** Changes whatever a job gives out, and the copies in it; returns how many. */
function spoil(job: Job): number {
  let spoilt = 0;
  const change = (value: unknown): void => {
    if (value === null || typeof value !== 'object') return;
    for (const inner of Object.values(value)) change(inner);
    spoilt++;
    if (value instanceof Date) value.setTime(1);
    else if (Array.isArray(value)) value.push('spoilt');
    else Object.assign(value, { spoilt: true });
  };
  for (const key of Object.keys(job.toJSON()) as (keyof Job)[]) if (key !== 'data') change(job[key]);
  return spoilt;
}

it('promote, changeDelay and changePriority', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { delay: 60_000 });
  await job.changeDelay('2 hours');
  const row = await rowOf(play, job);
  expect(Number(row?.['delay_until']) - Number(row?.['created_at'])).toBeGreaterThan(7_100_000);
  await job.changePriority(-5);
  expect(job.opts.priority).toBe(-5);
  expect(await rowOf(play, job)).toMatchObject({ priority: -5, opts: { priority: -5 } });
  await job.promote();
  expect([job.state, job.delayUntil]).toEqual(['waiting', null]);
  expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', delay_until: null });
});

it('a delay that is shortened is kept', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, () => 'ran');
  const job = await queue.add('work', null, { delay: 3_600_000 });
  await job.changeDelay(50);
  expect(await job.waitUntilFinished()).toBe('ran');
});

it('moveToDelayed and moveToFailed from outside', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const worker = play.worker(
    queue,
    other,
    (_job, signal) => new Promise((resolve) => signal.addEventListener('abort', resolve)),
  );
  const heard = record(worker);
  const job = await queue.add('work', null, { attempts: 3 });
  await until(() => job.isActive());
  const at = Date.now() + 60_000;
  await job.moveToDelayed(at);
  expect(job).toMatchObject({ state: 'delayed', delayUntil: new Date(at), lockedBy: null });
  await until(() => heard.errors.length > 0);
  expect(heard).toMatchObject({ completed: [], failed: [], retrying: [], errors: [{ code: 'LEASE_LOST' }] });
  const row = { state: 'delayed', delayUntil: new Date(at), lockedBy: null, attemptsMade: 0, attemptLogs: [] };
  expect(await queue.getJob(job.id)).toMatchObject(row);
  await job.moveToFailed(new Error('no'));
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', failedReason: 'no', attemptsMade: 0 });
  await expect(job.moveToFailed('again')).rejects.toBeInstanceOf(InvalidJobStateError);
});

it('a job that is put off from outside runs again, with all of its attempts, when it is due', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  play.worker(queue, store, async (job, signal) => {
    if (++runs === 1) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return [runs, job.attemptsMade];
  });
  const job = await queue.add('work', null);
  await until(() => job.isActive());
  await job.moveToDelayed(Date.now() + 50);
  expect(await job.waitUntilFinished()).toEqual([2, 0]);
});

it('an active job that was cancelled is not put off', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  play.worker(queue, store, () => release.promise);
  const job = await queue.add('work', null);
  await until(() => job.isActive());
  await job.cancel();
  await expect(job.moveToDelayed(Date.now() + 60_000)).rejects.toMatchObject({ code: 'JOB_CANCELLED' });
  release.resolve();
  await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
});

it('retry starts a failed job over, with all of its attempts', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let fail = true;
  play.worker(queue, store, (job) => (fail ? Promise.reject(new Error('no')) : job.attemptsMade));
  const { id } = await queue.add('work', null, { attempts: 2 });
  await until(async () => (await queue.count('failed')) === 1);
  fail = false;
  const job = (await queue.getJob(id)) as Job;
  await job.retry();
  expect(job).toMatchObject({ state: 'waiting', attemptsMade: 0, failedReason: null, stacktrace: [], failedAt: null });
  expect(await job.waitUntilFinished()).toBe(0);
  // What was, is on record.
  expect((await queue.getJob(id))?.attemptLogs).toHaveLength(3);
});

it('a parent that is retried waits for its children again', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { job: parent, children } = await new FlowProducer({ store }).add({
    name: 'parent',
    queueName: queue.name,
    data: null,
    children: [1, 2].map((data) => ({ name: 'child', queueName: queue.name, data })),
  });
  await (await queue.getJob(children![0]!.job.id))?.moveToFailed('no');
  const failed = (await queue.getJob(parent.id)) as Job;
  expect(failed.state).toBe('failed');
  await failed.retry();
  expect(failed.state).toBe('waiting-children');
});

it('family: parent, children and their values', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const { job: parent, children } = await new FlowProducer({ store }).add({
    name: 'parent',
    queueName: queue.name,
    data: null,
    children: [1, 2].map((data) => ({ name: 'child', queueName: queue.name, data })),
  });
  const child = (await queue.getJob(children![0]!.job.id)) as Job;
  expect((await child.getParent())?.id).toBe(parent.id);
  expect(await ((await queue.getJob(parent.id)) as Job).getParent()).toBeNull();
  const dependencies = await ((await queue.getJob(parent.id)) as Job).getDependencies();
  expect(dependencies.map(({ id, data }) => [id, data])).toEqual(children?.map(({ job }) => [job.id, job.data]));
  expect(await ((await queue.getJob(parent.id)) as Job).getChildrenValues()).toEqual({});
});

describe('a job that is gone', () => {
  it('is an error that says which', async () => {
    const store = await play.open();
    const job = await play.queue(store).add('work', null);
    await job.remove();
    await job.remove();
    const calls = [
      () => job.updateData(1),
      () => job.promote(),
      () => job.changeDelay(1),
      () => job.changePriority(1),
      () => job.moveToDelayed(Date.now() + 60_000),
      () => job.moveToFailed('x'),
      () => job.retry(),
      () => job.discard(),
      () => job.log('x'),
      () => job.updateProgress(1),
    ];
    for (const call of calls) {
      await expect(call(), String(call)).rejects.toMatchObject({
        name: 'JobNotFoundError',
        jobId: job.id,
        queueName: job.queueName,
      });
    }
    await expect(job.retry()).rejects.toBeInstanceOf(JobNotFoundError);
    expect([await job.isActive(), await job.isCompleted(), await job.isFailed()]).toEqual([false, false, false]);
  });
});

describe('a job in another state', () => {
  it('is an error that says in which, and in which it must be', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null);
    const wrong = (call: Promise<unknown>, currentState: string, expectedStates: string[]) =>
      expect(call).rejects.toMatchObject({ name: 'InvalidJobStateError', jobId: job.id, currentState, expectedStates });
    await wrong(job.promote(), 'waiting', ['delayed']);
    await wrong(job.changeDelay(5), 'waiting', ['delayed']);
    await wrong(job.retry(), 'waiting', ['failed']);
    await wrong(job.discard(), 'waiting', ['active']);
    await wrong(job.moveToDelayed(Date.now() + 60_000), 'waiting', ['active']);
    await play.database.sql`update conveyor_jobs set state = 'active' where id = ${job.id}`;
    await wrong(job.changePriority(1), 'active', ['waiting', 'delayed']);
    await job.moveToFailed('x');
    const unfinished = ['waiting', 'waiting-children', 'delayed', 'active'];
    await wrong(job.updateData(1), 'failed', unfinished);
    await wrong(job.changePriority(1), 'failed', ['waiting', 'delayed']);
    await wrong(job.discard(), 'failed', ['active']);
    await wrong(job.moveToDelayed(Date.now() + 60_000), 'failed', ['active']);
    // Bad values are refused before any SQL.
    for (const past of [1, Date.now(), new Date(0)]) await expect(job.moveToDelayed(past)).rejects.toThrow(RangeError);
    for (const delay of [0, -1, 0.4, '0s']) await expect(job.changeDelay(delay)).rejects.toThrow(RangeError);
    for (const priority of [0.5, Number.NaN, 2 ** 31]) {
      await expect(job.changePriority(priority)).rejects.toThrow(RangeError);
    }
    expect([await job.isFailed(), await job.isActive(), await job.isCompleted()]).toEqual([true, false, false]);
  });
});

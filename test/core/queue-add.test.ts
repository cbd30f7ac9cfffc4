import { describe, expect, it } from 'vitest';
import { Job, Queue } from '../../src/index.js';
import { newName, rowOf, usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

it('saves a job and returns it', async () => {
  const store = await play.open();
  const queue = play.queue<{ n: number }>(store);
  const job = await queue.add('work', { n: 1 }, { attempts: 3, priority: 2 });
  expect(job).toBeInstanceOf(Job);
  expect(job).toMatchObject({ name: 'work', queueName: queue.name, data: { n: 1 }, state: 'waiting', attemptsMade: 0 });
  const saved = await queue.getJob(job.id);
  expect(saved?.toJSON()).toEqual(job.toJSON());
});

it('returns the data as it is stored, and not the object that it was given', async () => {
  const queue = play.queue(await play.open());
  const data = { at: new Date(0), list: [1], left: undefined };
  const job = await queue.add('work', data);
  data.list.push(2);
  expect(job.data).toEqual({ at: '1970-01-01T00:00:00.000Z', list: [1] });
  expect(Object.keys(job.data as object)).toEqual(['at', 'list']);
  expect((await queue.getJob(job.id))?.data).toEqual(job.data);
  const [bulk] = await queue.addBulk([{ name: 'work', data: new Date(0) }]);
  expect(bulk?.data).toBe('1970-01-01T00:00:00.000Z');
  expect((await queue.add('work', undefined)).data).toBeNull();
  await job.updateData({ at: new Date(1) });
  expect(job.data).toEqual({ at: '1970-01-01T00:00:00.001Z' });
});

it('tells the queue what became of the new job', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const heard: string[] = [];
  queue.events.on('waiting', (job) => void heard.push(`waiting ${job.name}`));
  queue.events.on('delayed', (job) => void heard.push(`delayed ${job.name}`));
  await queue.add('a', null);
  await queue.schedule('1 day', 'b', null);
  expect(heard).toEqual(['waiting a', 'delayed b']);
});

describe('when it runs', () => {
  it.each([
    ['in 10 minutes', 600_000],
    ['1.5h', 5_400_000],
    [250_000, 250_000],
  ])('schedule(%j) delays by the database clock', async (delay, ms) => {
    const store = await play.open();
    const job = await play.queue(store).schedule(delay, 'later', null);
    expect(job.state).toBe('delayed');
    const [row] = await play.database.sql`
      select state, extract(epoch from delay_until - now()) * 1000 as ms from conveyor_jobs where id = ${job.id}`;
    expect(row?.['state']).toBe('delayed');
    expect(Number(row?.['ms'])).toBeGreaterThan(ms - 10_000);
    expect(Number(row?.['ms'])).toBeLessThanOrEqual(ms);
    expect(job.delayUntil).toEqual((await rowOf(play, job))?.['delay_until']);
  });

  it('now() runs it now, whatever the defaults say', async () => {
    const store = await play.open();
    const queue = play.queue(store, { defaultJobOptions: { delay: '1 hour' } });
    expect((await queue.add('later', null)).state).toBe('delayed');
    expect((await queue.now('now', null)).state).toBe('waiting');
  });
});

describe('default options', () => {
  it('hold for every job that does not say otherwise', async () => {
    const store = await play.open();
    const queue = play.queue(store, { defaultJobOptions: { attempts: 5, priority: 7, removeOnComplete: true } });
    expect((await queue.add('a', null)).opts).toEqual({ attempts: 5, priority: 7, removeOnComplete: true });
    expect((await queue.add('b', null, { priority: 0 })).opts).toEqual({
      attempts: 5,
      priority: 0,
      removeOnComplete: true,
    });
    const [bulk] = await queue.addBulk([{ name: 'c', data: null, opts: { attempts: 1 } }]);
    expect(bulk?.opts).toEqual({ attempts: 1, priority: 7, removeOnComplete: true });
  });

  it('an option that is undefined does not say otherwise', async () => {
    const store = await play.open();
    const queue = play.queue(store, { defaultJobOptions: { attempts: 5 } });
    expect((await queue.add('a', null, { attempts: undefined } as never)).opts).toEqual({ attempts: 5 });
  });

  it('a default delay is not for repeating jobs', async () => {
    const store = await play.open();
    const queue = play.queue(store, { defaultJobOptions: { delay: 1000, attempts: 2 } });
    expect((await queue.every('1 hour', 'tick', null)).opts).toMatchObject({
      attempts: 2,
      repeat: { every: '1 hour' },
    });
    expect((await queue.cron('0 0 1 1 *', 'yearly', null)).state).toBe('delayed');
    await expect(queue.add('tick', null, { delay: 5, repeat: { every: 1000 } })).rejects.toThrow(/opts.delay is 5/);
  });

  it('are checked when the queue is made', async () => {
    const store = await play.open();
    expect(() => play.queue(store, { defaultJobOptions: { attempts: 0 } })).toThrow(/opts.attempts is 0/);
  });
});

describe('a job that is there already', () => {
  it('is returned as it is for its jobId', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.add('first', { n: 1 }, { jobId: 'the one' });
    const second = await queue.add('second', { n: 2 }, { jobId: 'the one' });
    expect(second).toMatchObject({ id: 'the one', name: 'first', data: { n: 1 } });
  });

  it('is returned for its live deduplication key, and not once it has ended', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const opts = { deduplication: { key: 'once' } };
    const first = await queue.add('work', 1, opts);
    const second = await queue.add('work', 2, opts);
    expect(second.id).toBe(first.id);
    expect(second.data).toBe(1);
    await first.moveToFailed('enough');
    expect((await queue.add('work', 3, opts)).id).not.toBe(first.id);
  });

  it('is found by the hash of its name and data: no other name, and no other Date, is the same', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const opts = { deduplication: { hash: true } };
    const day = (n: number) => ({ at: new Date(Date.UTC(2024, 0, n)), deep: [{ a: 1, b: 2 }] });
    const first = await queue.add('a', day(1), opts);
    expect((await queue.add('a', { deep: [{ b: 2, a: 1 }], at: day(1).at }, opts)).id).toBe(first.id);
    const others = [await queue.add('b', day(1), opts), await queue.add('a', day(2), opts)];
    expect(new Set([first, ...others].map(({ id }) => id)).size).toBe(3);
    expect(await queue.count('waiting')).toBe(3);
  });

  it('is not announced again', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.add('work', null, { jobId: 'x' });
    const events: string[] = [];
    store.subscribe(queue.name, (event) => void events.push(event.type));
    await queue.add('work', null, { jobId: 'x' });
    expect(events).toEqual([]);
  });

  it('may be gone by the time it is read: add does not fail', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.add('work', 1, { jobId: 'fast' });
    const restore = onStatements(store, async (name, run) => {
      if (name === 'get job' || name === 'get jobs')
        await play.database.sql`delete from conveyor_jobs where id = 'fast'`;
      return run();
    });
    expect(await queue.add('work', 2, { jobId: 'fast' })).toMatchObject({ id: 'fast' });
    restore();
  });
});

it.each([
  ['insert plain jobs', {}],
  ['insert fresh jobs', { group: { id: 'g' } }],
])('rings even when the answer of "%s" was lost', async (statement, opts) => {
  // The insert takes effect, its answer is lost with the connection, and sent again it finds its own row.
  const store = await play.open();
  const queue = play.queue(store);
  let lost = false;
  onStatements(store, async (name, run) => {
    const answer = await run();
    if (name !== statement || lost) return answer;
    lost = true;
    return run();
  });
  let rung = 0;
  store.engine.notifier.onWake(queue.name, () => rung++);
  const data = { text: 'a "b"\n\\' };
  const job = await queue.add('work', data, opts);
  expect(job).toMatchObject({ state: 'waiting', data });
  expect((await queue.getJob(job.id))?.toJSON()).toEqual(job.toJSON());
  await until(() => rung > 0);
  expect(lost).toBe(true);
});

it('a queue can be used as soon as the store is connected, and says so before', async () => {
  const { PgStore } = await import('../../src/index.js');
  const store = new PgStore({ connection: play.database.url });
  const queue = new Queue(newName(), { store });
  await expect(queue.add('a', null)).rejects.toMatchObject({ code: 'NOT_CONNECTED' });
  await expect(queue.addBulk([{ name: 'a', data: null }])).rejects.toMatchObject({ code: 'NOT_CONNECTED' });
});

describe('closed', () => {
  it('every call is an error that says so', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('a', null);
    await queue.close();
    const calls: (() => unknown)[] = [
      () => queue.add('a', null),
      () => queue.addBulk([{ name: 'a', data: null }]),
      () => queue.addBulk([]),
      () => queue.schedule(1, 'a', null),
      () => queue.now('a', null),
      () => queue.every(1000, 'a', null),
      () => queue.cron('* * * * *', 'a', null),
      () => queue.pause(),
      () => queue.resume(),
      () => queue.drain(),
      () => queue.clean('completed', 0),
      () => queue.obliterate(),
      () => queue.retryJobs(),
      () => queue.promoteJobs(),
      () => queue.getJob(job.id),
      () => queue.getJobs('waiting'),
      () => queue.count('waiting'),
      () => queue.getJobCounts(),
      () => queue.observe(job.id),
      () => queue.getSchedules(),
      () => queue.removeSchedule('x'),
      () => queue.withTransaction({ execute: async () => [] }),
    ];
    for (const call of calls) {
      await expect((async () => call())(), String(call)).rejects.toMatchObject({
        name: 'ClosedError',
        message: `Queue "${queue.name}" is closed.`,
      });
    }
    await queue.close();
  });

  it('by `await using`, while the store serves others', async () => {
    const store = await play.open();
    let closed: Queue;
    {
      await using queue = play.queue(store);
      closed = queue;
    }
    await expect(closed.count('waiting')).rejects.toThrow(/is closed/);
    expect(await play.queue(store).count('waiting')).toBe(0);
  });
});

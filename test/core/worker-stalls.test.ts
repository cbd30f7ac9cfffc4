import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { sweepQueue } from '../../src/core/worker/maintenance.js';
import { newName, record, rowOf, usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

interface Stranded {
  lock?: string;
  count?: number;
  stalledCount?: number;
  /** Whether their handlers had started, and whether beside others. Default: alone. */
  started?: 'alone' | 'beside others' | 'no';
}

/** Jobs whose worker has gone, as rows. */
async function strand(queueName: string, where: Stranded = {}) {
  const { lock = `now() - interval '1 second'`, count = 1, stalledCount, started = 'alone' } = where;
  await play.database.sql.unsafe(`update conveyor_jobs set state = 'active', locked_by = 'worker-gone', lease = lease + 1,
    processed_at = now(), lock_until = ${lock}, stalled_count = ${stalledCount ?? 'stalled_count'},
    started_lease = ${started === 'no' ? 'started_lease' : 'lease + 1'}, started_alone = ${started === 'alone'}
    where queue_name = '${queueName}' and id in (
      select id from conveyor_jobs where queue_name = '${queueName}' and state = 'waiting' order by seq limit ${count})`);
}

const many = (count: number) => Array.from({ length: count }, (_, data) => ({ name: 'work', data }));

it.each([
  ['its lease has run out', `now() - interval '1 second'`],
  ['it has no lease at all', 'null'],
])('a stalled job runs again without having used up an attempt: %s', async (_name, lock) => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await strand(queue.name, { lock });
  const worker = play.worker(queue, store, async ({ attemptsMade }) => attemptsMade, { stalledInterval: 50 });
  const heard = record(worker);
  expect(await job.waitUntilFinished()).toBe(0);
  expect(heard.stalled).toEqual([job.id]);
  expect(await queue.getJob(job.id)).toMatchObject({ attemptsMade: 0, attemptLogs: [{ attempt: 1 }] });
});

it('a job whose lease has not run out is left alone', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.add('work', null);
  await strand(queue.name, { lock: `now() + interval '1 minute'` });
  expect(await sweepQueue(store.engine, queue.name, 1)).toBe(0);
});

it('fails when it has stalled more often than allowed', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  const stalled: string[] = [];
  const failed: [string, string][] = [];
  for (const state of ['waiting', 'waiting', 'failed']) {
    await strand(queue.name);
    await sweepQueue(store.engine, queue.name, 2, {
      stalled: (id) => void stalled.push(id),
      failed: (stored, error) => void failed.push([stored.job.id, error.message]),
    });
    expect((await queue.getJob(job.id))?.state).toBe(state);
  }
  expect(stalled).toEqual([job.id, job.id, job.id]);
  const reason = 'Job stalled more than 2 time(s): its worker died or lost its connection';
  expect(failed).toEqual([[job.id, reason]]);
  expect(await queue.getJob(job.id)).toMatchObject({
    failedReason: reason,
    attemptsMade: 1,
    attemptLogs: [{ attempt: 1, status: 'failed', error: reason, startedAt: expect.stringMatching(/Z$/) }],
  });
  await expect(job.waitUntilFinished()).rejects.toThrow(/stalled more than 2 time/);
});

it('once it may not stall again, each stall uses an attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { attempts: 3 });
  const seen: [string | undefined, number | undefined][] = [];
  for (let i = 0; i < 4; i++) {
    await strand(queue.name);
    await sweepQueue(store.engine, queue.name, 1);
    const now = await queue.getJob(job.id);
    seen.push([now?.state, now?.attemptsMade]);
  }
  expect(seen).toEqual([
    ['waiting', 0],
    ['waiting', 1],
    ['waiting', 2],
    ['failed', 3],
  ]);
});

it('a discarded one has no other attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { attempts: 3 });
  await strand(queue.name);
  await job.discard();
  await sweepQueue(store.engine, queue.name, 0);
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'failed', attemptsMade: 1 });
});

it('a job whose handler had not started does not fail, however often its worker is lost', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  for (let i = 0; i < 5; i++) {
    await strand(queue.name, { started: 'no' });
    expect(await sweepQueue(store.engine, queue.name, 0)).toBe(1);
  }
  expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', stalled_count: 0, started_lease: 0 });
});

it('a start under an earlier lease says nothing about this one', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { attempts: 2 });
  await strand(queue.name);
  await sweepQueue(store.engine, queue.name, 1);
  await strand(queue.name, { started: 'no' });
  await sweepQueue(store.engine, queue.name, 1);
  expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', stalled_count: 1, attempts_made: 0 });
});

it('a job that ran beside others does not fail', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  for (let i = 0; i < 3; i++) {
    await strand(queue.name, { started: 'beside others' });
    await sweepQueue(store.engine, queue.name, 1);
  }
  expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', stalled_count: 3, attempts_made: 0 });
});

it('maxStalledCount 0: the first time', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await strand(queue.name);
  play.worker(queue, store, async () => 'ran', { maxStalledCount: 0, stalledInterval: 50 });
  await expect(job.waitUntilFinished()).rejects.toThrow(/stalled more than 0 time/);
});

it('with removeOnFail the one that stalled too often is removed', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { removeOnFail: true });
  const kept = await queue.add('work', null, { removeOnFail: 3_600_000 });
  await strand(queue.name, { count: 2 });
  await sweepQueue(store.engine, queue.name, 0);
  await until(async () => (await queue.getJob(job.id)) === null);
  expect((await rowOf(play, kept))?.['remove_at']).toBeInstanceOf(Date);
});

it('counts as a failure in the metrics', async () => {
  const store = await play.open({ metrics: { enabled: true } });
  const queue = play.queue(store);
  await queue.add('work', null);
  await strand(queue.name);
  await sweepQueue(store.engine, queue.name, 0);
  const buckets = await store.getMetrics(queue.name, {
    granularity: 'minute',
    from: new Date(Date.now() - 3_600_000),
    to: new Date(Date.now() + 3_600_000),
  });
  expect(buckets.find(({ jobName }) => jobName === 'work')?.failedCount).toBe(1);
});

it('many sweepers at once return each job once', async () => {
  const stores = await Promise.all(Array.from({ length: 4 }, () => play.open()));
  const [store] = stores as [(typeof stores)[number]];
  const queue = play.queue(store);
  await queue.addBulk(many(1_200));
  await strand(queue.name, { count: 1_200 });
  const stalled: string[] = [];
  await Promise.all(
    [...stores, ...stores].map(({ engine }) =>
      sweepQueue(engine, queue.name, 1, { stalled: (id) => void stalled.push(id) }),
    ),
  );
  await sweepQueue(store.engine, queue.name, 1, { stalled: (id) => void stalled.push(id) });
  expect(stalled).toHaveLength(1_200);
  expect(new Set(stalled).size).toBe(1_200);
  expect(await queue.count('waiting')).toBe(1_200);
  const [counts] = await play.database.sql`select min(stalled_count) as least, max(stalled_count) as most
    from conveyor_jobs where queue_name = ${queue.name}`;
  expect(counts).toEqual({ least: 1, most: 1 });
});

it('workers of one process look and sweep once for all of them', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const workers = Array.from({ length: 5 }, () => play.worker(queue, store, async () => {}, { stalledInterval: 50 }));
  const heard = workers.map(record);
  await queue.add('work', null);
  await until(async () => (await queue.count('completed')) === 1);
  await queue.add('work', null, { delay: 3_600_000 });
  await play.database
    .sql`update conveyor_jobs set state = 'active' where queue_name = ${queue.name} and state = 'delayed'`;
  await until(async () => (await queue.count('completed')) === 2);
  expect(heard.flatMap(({ stalled }) => stalled)).toHaveLength(1);
});

it('jobs that were in the hands of a dead worker are not taken ahead again: one that kills its worker takes none with it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  // Short ones first: then jobs are taken ahead.
  await queue.addBulk(many(100));
  const [poison] = await queue.addBulk([{ name: 'work', data: 'poison' }, ...many(100)]);
  await play.database.sql`update conveyor_jobs set stalled_count = 1
    where queue_name = ${queue.name} and seq >= (select seq from conveyor_jobs where id = ${poison!.id})`;
  const script = spawnScript(new URL('./poisoned-worker.script.ts', import.meta.url), {
    args: [play.database.url, queue.name],
  });
  expect(await script.exit).toBe('SIGKILL');
  await play.database
    .sql`update conveyor_jobs set lock_until = now() where queue_name = ${queue.name} and state = 'active'`;
  play.worker(queue, store, () => 'fine', { stalledInterval: 50 });
  await until(async () => (await queue.count('completed')) + (await queue.count('failed')) === 201);
  expect((await queue.getJobs('failed')).map(({ data }) => data)).toEqual(['poison']);
});

it('a worker process that is killed loses no job', async () => {
  const store = await play.open();
  const queueName = newName();
  const queue = new (await import('../../src/index.js')).Queue(queueName, { store });
  const script = spawnScript(new URL('./stuck-worker.script.ts', import.meta.url), {
    args: [play.database.url, queueName],
  });
  const job = await queue.add('work', 'precious');
  await script.waitFor(({ running }: { running: string }) => running === job.id);
  await script.kill();
  const worker = play.worker(queue, store, async ({ data, attemptsMade }) => [data, attemptsMade], {
    stalledInterval: 200,
  });
  const heard = record(worker);
  expect(await job.waitUntilFinished(20_000)).toEqual(['precious', 0]);
  expect(heard.stalled).toEqual([job.id]);
});

it.each(['poison', 'slow poison'])(
  'a job that runs beside one that kills its worker completes: %s',
  async (poison) => {
    const store = await play.open();
    const queue = play.queue(store);
    const [killer, slow] = await queue.addBulk([poison, 'slow', 'slow'].map((data) => ({ name: 'work', data })));
    const options = JSON.stringify({ concurrency: 3, lockDuration: 500, stalledInterval: 100 });
    const args = [play.database.url, queue.name, options];
    let deaths = 0;
    let failures = 0;
    for (;;) {
      const script = spawnScript(new URL('./poisoned-worker.script.ts', import.meta.url), { args });
      const failed = script
        .waitFor(({ failed: data }: { failed: string }) => data === poison)
        .then(
          () => 'failed' as const,
          () => 'died' as const,
        );
      if ((await failed) === 'failed') {
        failures++;
        await until(async () => (await queue.count('completed')) === 2);
        await script.kill();
        break;
      }
      deaths++;
    }
    expect([deaths, failures]).toEqual([poison === 'poison' ? expect.any(Number) : 3, 1]);
    expect(deaths).toBeLessThanOrEqual(4);
    expect(await queue.getJob(killer!.id)).toMatchObject({
      state: 'failed',
      attemptsMade: 1,
      attemptLogs: [{ attempt: 1 }],
    });
    expect(await queue.getJob(slow!.id)).toMatchObject({ state: 'completed', attemptsMade: 0 });
  },
  60_000,
);

it('the start of a handler is recorded as soon as it runs', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, async ({ data }) => (data === 'short' ? undefined : release.promise), {
    concurrency: 2,
  });
  const job = await queue.add('work', null);
  await until(async () => (await rowOf(play, job))?.['started_lease'] === 1);
  expect(await rowOf(play, job)).toMatchObject({ lease: 1, started_alone: false });
  release.resolve();
  await worker.close();
});

it('where jobs are short, it is recorded for those that are not', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  play.worker(queue, store, async ({ data }) => (data === 'long' ? release.promise : undefined));
  await queue.addBulk(many(50));
  await until(async () => (await queue.count('completed')) === 50);
  const job = await queue.add('work', 'long');
  await until(async () => (await rowOf(play, job))?.['started_lease'] === 1);
  expect(await rowOf(play, job)).toMatchObject({ started_alone: true });
  release.resolve();
  await job.waitUntilFinished();
  const [recorded] = await play.database.sql`select count(*)::int as n from conveyor_jobs
    where queue_name = ${queue.name} and started_lease is not null`;
  // Of the first jobs it is not known that they are short.
  expect(recorded?.['n']).toBeLessThan(5);
});

it.each(['cancelled', 'removed'])('a job that waits to be alone and is %s holds up no others', async (how) => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  play.worker(queue, store, async ({ name }) => (name === 'quick' ? 'done' : release.promise), {
    concurrency: 2,
    lockDuration: 3_000,
  });
  const running = await queue.add('work', null);
  await until(async () => (await rowOf(play, running))?.['state'] === 'active');
  const waiting = await queue.add('work', null, { delay: 3_600_000 });
  await play.database.sql`update conveyor_jobs set stalled_count = 5 where id = ${waiting.id}`;
  await waiting.promote();
  await until(async () => (await rowOf(play, waiting))?.['state'] === 'active');
  if (how === 'cancelled') await waiting.cancel();
  else await play.database.sql`delete from conveyor_jobs where id = ${waiting.id}`;
  expect(await (await queue.add('quick', null)).waitUntilFinished(10_000)).toBe('done');
  release.resolve();
});

it('one whose start is being recorded has started when pause() resolves', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await play.database.sql`update conveyor_jobs set stalled_count = 1 where id = ${job.id}`;
  let calls = 0;
  const worker = play.worker(queue, store, () => void calls++, { autoStart: false });
  const { executor } = store.engine;
  const send = executor.run.bind(executor);
  const recording = deferred();
  vi.spyOn(executor, 'run').mockImplementation(async (statement, values) => {
    if (statement.name === 'renew') {
      recording.resolve();
      await sleep(200);
    }
    return send(statement, values);
  });
  worker.start();
  await recording.promise;
  await worker.pause();
  expect(calls).toBe(1);
});

it('of two workers in one process neither runs its job alone', async () => {
  const store = await play.open();
  const release = deferred();
  const queues = [play.queue(store), play.queue(store)] as const;
  for (const queue of queues) play.worker(queue, store, () => release.promise);
  const jobs = await Promise.all(queues.map((queue) => queue.add('work', null)));
  for (const job of jobs) await until(async () => (await rowOf(play, job))?.['started_lease'] === 1);
  const rows = await Promise.all(jobs.map((job) => rowOf(play, job)));
  expect(rows.map((row) => row?.['started_alone'])).toEqual([false, false]);
  release.resolve();
});

it('one that must be alone waits for the jobs of other workers in its process, and they wait for it', async () => {
  const store = await play.open();
  const [risky, busy] = [play.queue(store), play.queue(store)];
  const [first, alone] = [deferred(), deferred()];
  let running = 0;
  const together: number[] = [];
  const handler = (wait: Promise<unknown>) => async () => {
    together.push(++running);
    await wait;
    running--;
  };
  play.worker(busy, store, handler(first.promise), { concurrency: 5 });
  const before = await busy.add('work', null);
  await until(() => running === 1);
  const job = await risky.add('work', null);
  await play.database.sql`update conveyor_jobs set stalled_count = 2 where id = ${job.id}`;
  play.worker(risky, store, handler(alone.promise), { concurrency: 5 });
  await until(async () => (await rowOf(play, job))?.['state'] === 'active');
  const after = await busy.add('work', null);
  first.resolve();
  await before.waitUntilFinished();
  await until(async () => (await rowOf(play, job))?.['started_alone'] === true);
  alone.resolve();
  await Promise.all([job, after].map((one) => one.waitUntilFinished()));
  expect(together).toEqual([1, 1, 1]);
});

it('an attempt that ends by itself shows that the job does not kill its worker', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { attempts: 3 });
  await play.database.sql`update conveyor_jobs set stalled_count = 5 where id = ${job.id}`;
  const counts: unknown[] = [];
  play.worker(queue, store, async ({ attemptsMade }) => {
    counts.push((await rowOf(play, job))?.['stalled_count']);
    if (attemptsMade === 0) throw new Error('by itself');
  });
  await job.waitUntilFinished();
  expect(counts).toEqual([5, 0]);
});

import { describe, expect, it } from 'vitest';
import type { Job } from '../../src/index.js';
import { longWork } from '../support/pauses.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

const play = usePlayground();
const onPurpose = new Error('on purpose');

it('tries again until it works, and keeps a record of each attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const seen: number[] = [];
  const worker = play.worker(queue, store, async (job) => {
    await job.log(`try ${job.attemptsMade}`);
    seen.push(job.attemptsMade);
    if (seen.length < 3) throw new Error(`no ${seen.length}`);
    return 'yes';
  });
  const heard = record(worker);
  const job = await queue.add('work', null, { attempts: 5 });
  expect(await job.waitUntilFinished()).toBe('yes');
  expect(seen).toEqual([0, 1, 2]);
  const done = await queue.getJob(job.id);
  expect(done).toMatchObject({ state: 'completed', attemptsMade: 2, failedReason: null, returnvalue: 'yes' });
  expect(done?.logs).toEqual(['try 0', 'try 1', 'try 2']);
  expect(done?.stacktrace).toHaveLength(2);
  expect(done?.attemptLogs.map(({ attempt, status, error, logs }) => [attempt, status, error, logs])).toEqual([
    [1, 'failed', 'no 1', ['try 0']],
    [2, 'failed', 'no 2', ['try 1']],
    [3, 'completed', null, ['try 2']],
  ]);
  for (const { startedAt, endedAt } of done?.attemptLogs ?? []) {
    expect(new Date(startedAt).toISOString()).toBe(startedAt);
    expect(Date.parse(endedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(startedAt));
  }
  await until(() => heard.completed.length === 1);
  expect(heard.retrying.map(({ error, state }) => [error.message, state])).toEqual([
    ['no 1', 'waiting'],
    ['no 2', 'waiting'],
  ]);
  expect(heard.failed).toEqual([]);
});

it('fails for good after its last attempt', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  const worker = play.worker(queue, store, async () => {
    runs++;
    throw onPurpose;
  });
  const heard = record(worker);
  const job = await queue.add('work', null, { attempts: 3 });
  await expect(job.waitUntilFinished()).rejects.toMatchObject({ name: 'JobFailedError', message: 'on purpose' });
  const failed = await queue.getJob(job.id);
  expect(failed).toMatchObject({ state: 'failed', attemptsMade: 3, failedReason: 'on purpose', returnvalue: null });
  expect(failed?.failedAt).toBeInstanceOf(Date);
  expect(failed?.stacktrace[0]).toContain('worker-retries.test.ts');
  expect(runs).toBe(3);
  await until(() => heard.failed.length === 1);
  expect(heard.failed).toMatchObject([{ error: onPurpose, state: 'failed' }]);
  expect(heard.retrying.map(({ attemptsMade }) => attemptsMade)).toEqual([1, 2]);
});

it('a failed attempt is told with what it left on the job, and the pause before the next one', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, async (job) => {
    await job.log(`try ${job.attemptsMade}`);
    // One of them without a stack.
    throw job.attemptsMade === 1 ? 'just text' : new Error(`no ${job.attemptsMade}`);
  });
  const seen: { event: string; job: Job; attemptsMade?: number; delay?: number }[] = [];
  worker.on('retrying', ({ error: _, ...event }) => void seen.push({ event: 'retrying', ...event }));
  worker.on('failed', ({ job }) => void seen.push({ event: 'failed', job }));
  const { id } = await queue.add('work', null, { attempts: 3, backoff: { type: 'fixed', delay: 20 } });
  await until(() => seen.length === 3);
  expect(seen.map(({ event, attemptsMade, delay }) => [event, attemptsMade, delay])).toEqual([
    ['retrying', 1, 20],
    ['retrying', 2, 20],
    ['failed', undefined, undefined],
  ]);
  const stacks = ['Error: no 0', 'just text', 'Error: no 2'];
  const saved = (await queue.getJob(id)) as Job;
  for (const [i, { job }] of [...seen, { job: saved }].entries()) {
    const made = Math.min(i + 1, 3);
    expect(job.stacktrace.map((stack) => stack.split('\n')[0])).toEqual(stacks.slice(0, made));
    expect([job.attemptsMade, job.attemptLogs.length]).toEqual([made, made]);
  }
  // As the row has it, but for the exact time.
  const untimed = (job: Job) => job.attemptLogs.map(({ endedAt: _, ...record }) => record);
  expect(untimed(seen[2]?.job as Job)).toEqual(untimed(saved));
  expect(saved.attemptLogs.map(({ logs }) => logs)).toEqual([['try 0'], ['try 1'], ['try 2']]);
});

it('keeps the stack traces and records of the newest hundred attempts, for listeners too', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, ({ attemptsMade }) => Promise.reject(`no ${attemptsMade}`));
  const failed = new Promise<Job>((resolve) => worker.on('failed', ({ job }) => resolve(job)));
  const { id } = await queue.add('work', null, { attempts: 103 });
  for (const job of [await failed, (await queue.getJob(id)) as Job]) {
    expect(job.stacktrace).toEqual(Array.from({ length: 100 }, (_, i) => `no ${i + 3}`));
    expect(job.attemptLogs.map(({ attempt }) => attempt)).toEqual(Array.from({ length: 100 }, (_, i) => i + 4));
  }
});

describe('whatever is thrown', () => {
  const hostile = {
    get message(): string {
      throw new Error('no message for you');
    },
  };
  it.each<[string, unknown, RegExp]>([
    ['a string', 'just text', /^just text$/],
    ['nothing', undefined, /^undefined$/],
    ['null', null, /^null$/],
    ['an object', { code: 7 }, /7/],
    ['an Error without a message', new TypeError(), /TypeError/],
    ['U+0000', new Error('a\0b'), /^a\ufffdb$/],
    ['a lone surrogate', new Error('\ud800'), /^\ufffd$/],
    ['a hostile object', hostile, /./],
    ['a frozen Error', Object.freeze(new Error('frozen')), /^frozen$/],
    ['a very long message', new Error('x'.repeat(100_000)), /^x{9999}…$/],
  ])('%s ends the job as failed', async (_name, thrown, reason) => {
    const store = await play.open();
    const queue = play.queue(store);
    play.worker(queue, store, () => {
      throw thrown;
    });
    const job = await queue.add('work', null);
    await until(async () => (await queue.count('failed')) === 1);
    expect((await queue.getJob(job.id))?.failedReason).toMatch(reason);
  });
});

describe('backoff', () => {
  /** The pause that a failure led to, by the database's own times. */
  async function pauseOf(queue: { name: string }): Promise<number> {
    const [row] = await play.database.sql`
      select extract(epoch from delay_until - (attempt_logs -> -1 ->> 'endedAt')::timestamptz) * 1000 as ms
      from conveyor_jobs where queue_name = ${queue.name}`;
    return Number(row?.['ms']);
  }

  it('fixed: exactly the same pause each time', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    play.worker(queue, store, () => Promise.reject(onPurpose));
    const job = await queue.add('work', null, { attempts: 4, backoff: { type: 'fixed', delay: '20s' } });
    for (let attempt = 1; attempt <= 3; attempt++) {
      await until(async () => (await rowOf(play, job))?.['attempts_made'] === attempt);
      expect(await pauseOf(queue)).toBe(20_000);
      await job.promote();
    }
    await until(async () => (await queue.count('failed')) === 1);
  });

  it('exponential: twice as long each time', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    play.worker(queue, store, () => Promise.reject(onPurpose));
    const job = await queue.add('work', null, { attempts: 4, backoff: { type: 'exponential', delay: 10_000 } });
    for (let attempt = 1; attempt <= 3; attempt++) {
      await until(async () => (await rowOf(play, job))?.['attempts_made'] === attempt);
      const nominal = 10_000 * 2 ** (attempt - 1);
      expect(Math.abs((await pauseOf(queue)) - nominal)).toBeLessThanOrEqual(nominal / 4);
      await job.promote();
    }
  });

  it('custom: the worker is asked, with the attempts so far and the error', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const asked: unknown[] = [];
    play.worker(queue, store, () => Promise.reject(onPurpose), {
      backoffStrategy: async (attemptsMade, error) => {
        asked.push([attemptsMade, error]);
        return attemptsMade === 1 ? 0 : 40_000;
      },
    });
    const job = await queue.add('work', null, { attempts: 3, backoff: { type: 'custom', delay: 1 } });
    await until(async () => (await rowOf(play, job))?.['attempts_made'] === 2);
    expect(await pauseOf(queue)).toBe(40_000);
    expect(asked).toEqual([
      [1, onPurpose],
      [2, onPurpose],
    ]);
  });

  it('with jitter any type varies', async () => {
    const store = await play.open();
    for (const type of ['fixed', 'custom'] as const) {
      const queue = play.queue(store);
      play.worker(queue, store, () => Promise.reject(onPurpose), { backoffStrategy: () => 20_000 });
      const pauses: number[] = [];
      await queue.addBulk(
        Array.from({ length: 20 }, () => ({
          name: 'work',
          data: null,
          opts: { attempts: 2, backoff: { type, delay: 20_000, jitter: 0.5 } },
        })),
      );
      await until(async () => (await queue.count('delayed')) === 20);
      for (const job of await queue.getJobs('delayed')) {
        pauses.push(Number(job.delayUntil) - Date.parse(job.attemptLogs[0]?.endedAt as string));
      }
      expect(new Set(pauses).size).toBeGreaterThan(10);
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(10_000);
      expect(Math.max(...pauses)).toBeLessThanOrEqual(30_000);
    }
  });

  it('a delay that 0.1.0 has stored with "in " is kept', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null, { attempts: 2, backoff: { type: 'fixed', delay: 1 }, delay: 60_000 });
    await play.database.sql`
      update conveyor_jobs set opts = jsonb_set(opts, '{backoff,delay}', '"in 20 s"') where id = ${job.id}`;
    const heard = record(play.worker(queue, store, () => Promise.reject(onPurpose)));
    await job.promote();
    await until(() => heard.retrying.length === 1);
    expect(heard).toMatchObject({ retrying: [{ delay: 20_000 }], errors: [] });
  });

  it.each<[string, (() => unknown) | undefined]>([
    ['is missing', undefined],
    ['throws', () => Promise.reject(new Error('no idea'))],
    ['throws null', () => Promise.reject(null)],
    ['answers NaN', () => Number.NaN],
    ['answers a negative pause', () => -5],
  ])('a strategy that %s is said, and the job goes on after its plain delay', async (_name, backoffStrategy) => {
    const store = await play.open();
    const queue = play.queue(store);
    let runs = 0;
    const worker = play.worker(
      queue,
      store,
      async () => {
        if (++runs === 1) throw onPurpose;
      },
      backoffStrategy ? { backoffStrategy: backoffStrategy as () => number } : {},
    );
    const heard = record(worker);
    await queue.add('work', null, { attempts: 2, backoff: { type: 'custom', delay: 5 } });
    await until(async () => (await queue.count('completed')) === 1);
    expect(heard.errors.map(({ message }) => message)).toEqual([
      expect.stringMatching(/backoff of job .* cannot be computed/),
    ]);
  });

  it.each([1e300, Number.MAX_SAFE_INTEGER])(
    'a strategy that answers %d puts the job off as long as can be',
    async (pause) => {
      const store = await play.open();
      const queue = play.queue(store);
      play.worker(queue, store, () => Promise.reject(onPurpose), { backoffStrategy: () => pause });
      await queue.add('work', null, { attempts: 2, backoff: { type: 'custom', delay: 5 } });
      await until(async () => (await queue.count('delayed')) === 1);
      expect(await pauseOf(queue)).toBeGreaterThan(1e12);
    },
  );
});

it('a retried job goes behind those of its priority that wait already', async () => {
  const store = await play.open();
  const queue = play.queue<string>(store);
  const ran: unknown[] = [];
  const worker = play.worker(
    queue,
    store,
    async (job) => {
      ran.push(job.data);
      // A short job would let the worker claim the others ahead.
      await longWork();
      if (job.data === 'a') await until(async () => (await rowOf(play, poison))?.['attempts_made'] === 1);
      if (job.data === 'poison') throw onPurpose;
    },
    { autoStart: false },
  );
  const poison = await queue.add('work', 'poison', { attempts: 2, lifo: true });
  for (const data of ['a', 'b']) await queue.add('work', data);
  await queue.add('work', 'last', { priority: 1 });
  worker.start();
  await until(() => ran.length === 5);
  expect(ran).toEqual(['poison', 'a', 'b', 'poison', 'last']);
});

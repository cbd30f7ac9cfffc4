import { describe, expect, it, vi } from 'vitest';
import { PgStore, Queue, Worker } from '../../src/index.js';
import { newName, record, recordingLogger, usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

describe('an error with no listener', () => {
  it("goes to the worker's logger, else to the store's", async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const own = recordingLogger();
    onStatements(store, (name, run) => (/^claim/.test(name) ? Promise.reject(new Error('claim failed')) : run()));
    const worker = play.worker(queue, store, () => {}, { logger: own.logger });
    await until(() =>
      own.lines.some(({ level, args }) => level === 'error' && String(args[0]).includes('claim failed')),
    );
    await worker.close();
    play.worker(queue, store, () => {});
    await until(() =>
      play.said.some(({ level, args }) => level === 'error' && String(args[0]).includes('claim failed')),
    );
  });

  it('is on the console when no logger was given', async () => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => {});
    try {
      const store = new PgStore({ connection: play.database.url, autoMigrate: false });
      await store.connect();
      const name = newName();
      const worker = new Worker(name, () => 'ran', { store });
      worker.on('completed', () => {
        throw new Error('a listener threw');
      });
      await new Queue(name, { store }).add('work', null);
      await until(() => shown.mock.calls.some((args) => args.some((arg) => String(arg).includes('a listener threw'))));
      await worker.close();
      await store.disconnect();
    } finally {
      shown.mockRestore();
    }
  });
});

it('listeners that throw or reject change nothing of the job', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, (job) => (job.data === 'bad' ? Promise.reject(new Error('bad')) : 'good'));
  const heard = record(worker);
  worker.on('active', () => {
    throw new Error('in active');
  });
  worker.on('completed', () => Promise.reject(new Error('in completed')) as never);
  worker.on('failed', () => {
    throw new Error('in failed');
  });
  worker.on('error', () => {
    throw new Error('in error');
  });
  const [good, bad] = [await queue.add('work', 'good'), await queue.add('work', 'bad')];
  expect(await good.waitUntilFinished()).toBe('good');
  await expect(bad.waitUntilFinished()).rejects.toThrow('bad');
  await until(() => heard.errors.length === 4);
  expect(heard.errors.map(({ message }) => message).sort()).toEqual([
    'in active',
    'in active',
    'in completed',
    'in failed',
  ]);
  expect(play.said.filter(({ args }) => String(args[0]).includes('in error'))).toHaveLength(4);
});

it('a broken logger stops nothing', async () => {
  const broken = () => {
    throw new Error('the logger is broken');
  };
  const logger = { debug: broken, info: broken, warn: broken, error: broken };
  const store = await play.open();
  const queue = play.queue(store);
  const failed: string[] = [];
  onStatements(store, (name, run) => {
    if (!/^(claim|settle|renew)/.test(name) || failed.includes(name)) return run();
    failed.push(name);
    return Promise.reject(new Error(`${name} failed`));
  });
  play.worker(queue, store, () => 'fine', { logger, lockDuration: 300 });
  expect(await (await queue.add('work', null)).waitUntilFinished()).toBe('fine');
});

it('events carry the job as it is by then', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, (job) =>
    job.attemptsMade === 0 ? Promise.reject(new Error('first')) : 'second',
  );
  const seen: unknown[] = [];
  worker.on('active', (job) => seen.push(['active', job.state, job.attemptsMade, job.lockedBy === worker.id]));
  worker.on('retrying', ({ job }) =>
    seen.push(['retrying', job.state, job.attemptsMade, job.failedReason, job.lockedBy]),
  );
  worker.on('completed', ({ job, result }) =>
    seen.push(['completed', job.state, job.attemptsMade, job.returnvalue, result, job.completedAt instanceof Date]),
  );
  await (await queue.add('work', null, { attempts: 2 })).waitUntilFinished();
  await until(() => seen.length === 4);
  expect(seen).toEqual([
    ['active', 'active', 0, true],
    ['retrying', 'waiting', 1, 'first', null],
    ['active', 'active', 1, true],
    ['completed', 'completed', 1, 'second', 'second', true],
  ]);
});

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { MAX_CLAIM_BYTES } from '../../src/store/claim/bytes.js';
import { claimJobs, claimWithin } from '../../src/store/claim/dispatch.js';
import { type FetchLimits, resolveLimits } from '../../src/store/claim/limits.js';
import { usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { until } from '../support/until.js';

const play = usePlayground();

/** A payload of so many bytes that compresses to next to nothing, as much JSON does. */
const large = (bytes: number) => 'x'.repeat(bytes);
const QUARTER = MAX_CLAIM_BYTES / 4;

const LIMITS: [string, FetchLimits & { lifo?: boolean; jobName?: string }][] = [
  ['plain', {}],
  ['lifo', { lifo: true }],
  ['by name', { jobName: 'work' }],
  ['limited', { maxGlobalConcurrency: 100 }],
  ['by group', { groupConcurrency: 100 }],
];

it.each(LIMITS)('a claim stops at a sum of bytes: %s', async (_name, limits) => {
  const store = await play.open();
  const queue = play.queue(store);
  const opts = 'groupConcurrency' in limits ? { group: { id: 'g' } } : {};
  for (let i = 0; i < 7; i++) await queue.add('work', large(QUARTER), opts);
  const request = { queueName: queue.name, workerId: 'w', lockDuration: 60_000, limit: 100, ...limits };
  const sizes: number[] = [];
  for (let claims = 0; claims < 3; claims++) {
    const { jobs, more } = await claimWithin(store.engine.executor, request, resolveLimits(limits));
    sizes.push(jobs.length);
    // Short of its limit, it does not pass for a claim that has found the queue empty.
    expect(more).toBe(jobs.length > 0);
  }
  expect(sizes).toEqual([4, 3, 0]);
});

it.each([
  ['that compress to next to nothing', large(150_000), 300],
  ['of small numbers', Array.from({ length: 100_000 }, () => 1), 30],
])('payloads %s count with their size', async (_name, data, count) => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(Array.from({ length: count }, () => ({ name: 'work', data })));
  const request = { queueName: queue.name, workerId: 'w', lockDuration: 60_000, limit: count };
  const { jobs, more } = await claimWithin(store.engine.executor, request, resolveLimits({}));
  expect(jobs.length).toBeLessThan(count / 2);
  expect(more).toBe(true);
});

it('one job over the limit is claimed, alone', async () => {
  const store = await play.open({ maxPayloadBytes: 2 * MAX_CLAIM_BYTES });
  const queue = play.queue(store);
  for (let i = 0; i < 2; i++) await queue.add('work', large(MAX_CLAIM_BYTES + 1));
  const request = { queueName: queue.name, workerId: 'w', lockDuration: 60_000, limit: 10 };
  expect(await claimJobs(store.engine, request)).toHaveLength(1);
  expect(await claimJobs(store.engine, request)).toHaveLength(1);
});

it('a worker of short jobs holds no more large ones than that', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let most = 0;
  const active = async () => {
    const [row] = await play.database.sql<{ n: number }[]>`
      select count(*)::int as n from conveyor_jobs where queue_name = ${queue.name} and state = 'active'`;
    most = Math.max(most, row?.n ?? 0);
  };
  await queue.addBulk(Array.from({ length: 200 }, (_, data) => ({ name: 'work', data })));
  for (let i = 0; i < 20; i++) await queue.add('work', large(QUARTER));
  const worker = play.worker(queue, store, async ({ data }) => {
    if (typeof data === 'string') await active();
  });
  await until(async () => (await queue.count('completed')) === 220, { timeout: 30_000 });
  await worker.close();
  // One that runs, the ones prefetched, and those of the claim that is under way.
  expect(most).toBeLessThanOrEqual(8);
});

it('a worker with a small heap gets through large payloads', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  // Short ones first: then jobs are prefetched.
  await queue.addBulk(Array.from({ length: 300 }, (_, data) => ({ name: 'work', data })));
  for (let i = 0; i < 16; i++) await queue.add('work', large(8_000_000));
  const script = spawnScript(new URL('../core/poisoned-worker.script.ts', import.meta.url), {
    args: [play.database.url, queue.name, JSON.stringify({ concurrency: 2 })],
    env: { NODE_OPTIONS: '--max-old-space-size=120' },
  });
  await until(async () => (await queue.count('completed')) === 316, { timeout: 50_000 });
  await script.kill();
  expect(await queue.getJobCounts()).toMatchObject({ completed: 316, failed: 0, active: 0 });
}, 90_000);

it('a claim that was not cut wakes no others', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  for (let i = 0; i < 4; i++) await queue.add('work', large(QUARTER + 1));
  const wake = vi.spyOn(store.engine.notifier, 'wake');
  play.worker(queue, store, () => sleep(20));
  await until(async () => (await queue.count('completed')) === 4);
  expect(wake).not.toHaveBeenCalled();
});

/** Claims that take long go on where the last one ended; nothing is passed over for good. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { PgStore } from '../../src/index.js';
import { longWork } from '../support/pauses.js';
import { record, usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

const atStart = ({ seq }: Record<string, unknown>) => seq === -Number.MAX_SAFE_INTEGER;

/** Makes every claim take `ms` longer and notes of each whether it began with the first job. */
function slowClaims(store: PgStore, ms: number): boolean[] {
  const fromStart: boolean[] = [];
  onStatements(store, async (name, run, values) => {
    if (!/^claim( limited)?$/.test(name)) return run();
    fromStart.push(atStart(values));
    const rows = await run();
    // How long a claim takes decides where the next one begins.
    await sleep(ms);
    return rows;
  });
  return fromStart;
}

const jobs = (count: number, first = 0, opts = {}) =>
  Array.from({ length: count }, (_, n) => ({ name: 'work', data: first + n, opts }));

it.each([
  ['plain', {}],
  ['limited', { maxGlobalConcurrency: 100 }],
])('%s: they go on where the last one ended, in order, and begin anew now and then', async (_, options) => {
  const store = await play.open();
  const queue = play.queue<number>(store);
  await queue.addBulk(jobs(100));
  const fromStart = slowClaims(store, 40);
  const ran: unknown[] = [];
  play.worker(queue, store, async (job) => void ran.push(job.data), { concurrency: 5, ...options });
  await until(() => ran.length === 100);
  expect(ran).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(fromStart).toContain(false);
  expect(fromStart.filter(Boolean).length).toBeGreaterThan(1);
});

it('what comes to stand before that place runs as well, while others keep the worker busy', async () => {
  const store = await play.open();
  const other = await play.open();
  const queue = play.queue<number>(store);
  await queue.addBulk(jobs(50));
  slowClaims(store, 30);
  const ran: unknown[] = [];
  const run = async (job: { data: unknown }) => {
    ran.push(job.data);
    // There is always more behind it.
    if (!ran.includes(1_000)) await queue.add('work', 50 + ran.length);
  };
  const worker = play.worker(queue, store, run, { concurrency: 2 });
  const { errors } = record(worker);
  await until(() => ran.length > 20);
  const urgent = await play.queue(other).add('none', null);
  await play.database.sql`update conveyor_jobs set queue_name = ${queue.name}, seq = -5, data = '1000'
    where id = ${urgent.id}`;
  await until(() => ran.includes(1_000));
  await until(async () => (await queue.count('completed')) === ran.length);
  expect(new Set(ran).size).toBe(ran.length);
  expect(errors).toEqual([]);
});

it('when the second half of such a claim fails, what the first half took runs all the same', async () => {
  const store = await play.open();
  const queue = play.queue<number>(store);
  await queue.addBulk(jobs(12));
  slowClaims(store, 40);
  let broken = false;
  onStatements(store, async (name, run, values) => {
    // Only the second half of a claim has a smaller limit than there are slots.
    if (name === 'claim' && atStart(values) && (values['limit'] as number) < 5 && !broken) {
      broken = true;
      throw new Error('the connection is gone');
    }
    return run();
  });
  const ran: unknown[] = [];
  const run = async (job: { data: unknown }) => {
    await longWork();
    ran.push(job.data);
  };
  play.worker(queue, store, run, { concurrency: 5 });
  await until(() => ran.length === 12);
  expect(broken).toBe(true);
  expect(new Set(ran).size).toBe(12);
  await until(async () => (await queue.count('completed')) === 12);
});

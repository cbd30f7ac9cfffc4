import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Job, JobNotFoundError } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { countStatements, onStatements } from '../support/statements.js';

const play = usePlayground();

it('50 concurrent lines from two Job objects are all kept', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  const twin = new Job(job.toJSON(), other);
  await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? job : twin).log(`line ${i}`)));
  const logs = (await queue.getJob(job.id))?.logs ?? [];
  expect(logs).toHaveLength(50);
  expect(new Set(logs).size).toBe(50);
  // Those of one object are in its order.
  expect(logs.filter((line) => Number(line.slice(5)) % 2)).toEqual(
    Array.from({ length: 25 }, (_, i) => `line ${2 * i + 1}`),
  );
});

it('10,000 lines are a few statements, and the newest 1,000 stay', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  const statements = countStatements(store);
  await Promise.all(Array.from({ length: 10_000 }, (_, i) => job.log(`line ${i}`)));
  expect(statements.count('append to log')).toBeLessThanOrEqual(20);
  const logs = (await queue.getJob(job.id))?.logs;
  expect(logs).toEqual(Array.from({ length: 1_000 }, (_, i) => `line ${9_000 + i}`));
});

it('lines that are logged while others are on their way wait for those, and stay in order', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  let [underWay, most] = [0, 0];
  onStatements(store, async (name, run) => {
    if (name !== 'append to log') return run();
    most = Math.max(most, ++underWay);
    const answer = await run();
    underWay--;
    return answer;
  });
  const logged: Promise<void>[] = [];
  for (let i = 0; i < 100; i++) {
    logged.push(job.log(`line ${i}`));
    await setImmediate();
  }
  await Promise.all(logged);
  expect(most).toBe(1);
  expect((await queue.getJob(job.id))?.logs).toEqual(Array.from({ length: 100 }, (_, i) => `line ${i}`));
});

it('the record of an attempt keeps the newest 1,000 as well', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, async (job) => {
    await Promise.all(Array.from({ length: 2_500 }, (_, i) => job.log(`line ${i}`)));
  });
  const job = await queue.add('work', null);
  await job.waitUntilFinished();
  const logs = (await queue.getJob(job.id))?.attemptLogs[0]?.logs;
  expect(logs).toHaveLength(1_000);
  expect(logs?.at(-1)).toBe('line 2499');
});

it.each<[string, unknown, string | RegExp]>([
  ['U+0000', 'a\0b', 'a\ufffdb'],
  ['a lone surrogate', '\ud83d', '\ufffd'],
  ['a long line', 'x'.repeat(10_000), /^x{8191}…$/],
  ['one that is cut within an emoji', `${'x'.repeat(8_190)}😀😀`, /^x{8190}…$/],
  ['quotes and backslashes', `"\\'\n`, `"\\'\n`],
  ['a number', 5, '5'],
  ['undefined', undefined, 'undefined'],
  ['an object', { a: 1 }, '{"a":1}'],
  ['an Error', new Error('oh'), 'oh'],
  ['an object without a prototype', Object.create(null), '{}'],
  ['a symbol', Symbol('s'), 'Symbol(s)'],
])('%s can be logged', async (_name, line, expected) => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await job.log(line as string);
  const [logged] = (await queue.getJob(job.id))?.logs ?? [];
  if (expected instanceof RegExp) expect(logged).toMatch(expected);
  else expect(logged).toBe(expected);
});

it('lines of a job that is gone are refused, each of them, without a statement for each', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await job.remove();
  const statements = countStatements(store);
  const logged = await Promise.allSettled(Array.from({ length: 500 }, (_, i) => job.log(`line ${i}`)));
  expect(logged.every(({ status }) => status === 'rejected')).toBe(true);
  expect(logged[0]).toMatchObject({ reason: expect.any(JobNotFoundError) });
  expect(statements.count('append to log')).toBeLessThanOrEqual(2);
});

it('a line that cannot be written is the error of its own call only', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const [job, other] = [await queue.add('work', null), await queue.add('work', null)];
  onStatements(store, (name, run, values) =>
    name === 'append to log' && values['id'] === job.id ? Promise.reject(new Error('no')) : run(),
  );
  const logged = await Promise.allSettled([job.log('a'), other.log('b'), job.log('c')]);
  expect(logged.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
  expect((await queue.getJob(other.id))?.logs).toEqual(['b']);
});

it('clearLogs empties the log, or keeps the newest lines', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  for (const line of ['a', 'b', 'c']) await job.log(line);
  await job.clearLogs(2);
  expect(job.logs).toEqual(['b', 'c']);
  expect((await queue.getJob(job.id))?.logs).toEqual(['b', 'c']);
  await job.clearLogs();
  expect((await queue.getJob(job.id))?.logs).toEqual([]);
  await job.remove();
  await expect(job.clearLogs()).rejects.toBeInstanceOf(JobNotFoundError);
});

it.each(['{"a":1}', '"text"', '5', 'null'])('a log that was changed by hand to %s is replaced', async (damaged) => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await play.database.sql`update conveyor_jobs set logs = ${damaged}::text::jsonb where id = ${job.id}`;
  await job.log('a');
  await job.log('b');
  expect((await queue.getJob(job.id))?.logs).toEqual(['a', 'b']);
});

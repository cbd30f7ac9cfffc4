import { expect, it } from 'vitest';
import { record, usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

const play = usePlayground();

const cycle: Record<string, unknown> = { name: 'cycle' };
cycle['self'] = cycle;

it.each<[string, unknown, unknown]>([
  ['a bigint', 12n, '12'],
  ['NaN', Number.NaN, null],
  ['a function', () => {}, null],
  ['a symbol', Symbol('s'), null],
  ['U+0000', 'a\0b', 'a\ufffdb'],
  ['U+0000 in a key', { 'a\0b': 1 }, { 'a\ufffdb': 1 }],
  ['a lone surrogate', '\ud800!', '\ufffd!'],
  ['a cycle', cycle, { name: 'cycle', self: '[Circular]' }],
  ['a Map', new Map([['a', 1]]), [['a', 1]]],
  ['an Error', new TypeError('oh'), { name: 'TypeError', message: 'oh' }],
  ['a Date', new Date(0), '1970-01-01T00:00:00.000Z'],
  ['an invalid Date', new Date(Number.NaN), null],
  [
    'a hostile toJSON',
    {
      toJSON() {
        throw new Error('no');
      },
    },
    '[Unserializable]',
  ],
  [
    'a hostile getter',
    {
      ok: 1,
      get bad(): never {
        throw new Error('no');
      },
    },
    { ok: 1, bad: '[Unserializable]' },
  ],
])('a result that JSON or jsonb cannot hold is still a success: %s', async (_name, result, stored) => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  const heard = record(
    play.worker(queue, store, () => {
      runs++;
      return result;
    }),
  );
  const job = await queue.add('work', null, { attempts: 3 });
  expect(await job.waitUntilFinished()).toEqual(stored);
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'completed', attemptsMade: 0 });
  await until(() => heard.completed.length === 1);
  expect(heard.completed[0]?.result).toBe(result);
  expect(runs).toBe(1);
});

it('a result over the limit is not stored and is said, and the job is a success', async () => {
  const store = await play.open({ maxPayloadBytes: 10_000 });
  const queue = play.queue(store);
  const heard = record(play.worker(queue, store, () => 'x'.repeat(20_000)));
  const job = await queue.add('work', null);
  expect(await job.waitUntilFinished()).toBeNull();
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'completed', returnvalue: null });
  expect(heard.errors).toMatchObject([
    { message: expect.stringMatching(/at least 20002 bytes, maxPayloadBytes allows 10000/) },
  ]);
});

it('large results of many jobs at once are settled in several statements', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  play.worker(queue, store, ({ data }) => `${data}`.repeat(1_000_000), { concurrency: 30 });
  const jobs = await queue.addBulk(Array.from({ length: 30 }, (_, n) => ({ name: 'work', data: n % 10 })));
  await until(async () => (await queue.count('completed')) === 30, { timeout: 20_000 });
  expect((await queue.getJob(jobs[29]?.id ?? ''))?.returnvalue).toBe('9'.repeat(1_000_000));
});

import { expect, it, vi } from 'vitest';
import { record, usePlayground } from '../support/playground.js';
import { isSettling, onStatements } from '../support/statements.js';
import { until } from '../support/until.js';

// The pauses between the tries add up to half a minute.
vi.mock('node:timers/promises', async (load) => {
  const timers = await load<typeof import('node:timers/promises')>();
  const setTimeout = (ms: number, value: unknown, options: object) =>
    timers.setTimeout(Math.min(ms, 20), value, options);
  return { ...timers, setTimeout };
});

const play = usePlayground();

it('a settlement that is refused for good is said, and its job is left to its lease', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  let refused = 0;
  onStatements(store, (name, run) => {
    if (!isSettling(name)) return run();
    refused++;
    return Promise.reject(new Error('refused'));
  });
  const first = play.worker(queue, store, () => 'first', { lockDuration: 300, stalledInterval: 600_000 });
  const heard = record(first);
  const job = await queue.add('work', null);
  await until(() => heard.errors.length === 1);
  expect(heard).toMatchObject({ completed: [], errors: [new Error('refused')] });
  expect(refused).toBeGreaterThan(5);
  expect(refused).toBeLessThan(30);
  await first.pause();
  play.worker(queue, other, () => 'second', { stalledInterval: 50 });
  expect(await job.waitUntilFinished()).toBe('second');
});

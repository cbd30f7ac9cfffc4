/** What an idle process sends, by `pollInterval` and `heartbeatInterval`; and that it misses nothing for all that. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { StatementEvent } from '../../src/db/statement-event.js';
import { NotificationCheck } from '../../src/store/runtime/notification-check.js';
import { resolveOptions } from '../../src/store/runtime/options.js';
import { usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

const play = usePlayground();
afterEach(() => vi.restoreAllMocks());

/** A process with a worker that has come to rest. */
async function resting(options: Parameters<typeof play.open>[0] = {}) {
  const sent: string[] = [];
  const store = await play.open({
    pollInterval: false,
    onStatement: ({ name }: StatementEvent) => void sent.push(name),
    ...options,
  });
  const queue = play.queue(store);
  const ran: unknown[] = [];
  play.worker(queue, store, ({ data }) => void ran.push(data));
  // The last of what a start sends.
  await until(() => sent.includes('poll') && (options.listen === false || sent.includes('notify itself')));
  await sleep(500);
  sent.length = 0;
  return { store, queue, sent, ran };
}

const killListeners = () =>
  play.database.sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen %'`;

describe('pollInterval: false', () => {
  it('sends nothing at all while nothing happens', { timeout: 40_000 }, async () => {
    const { sent } = await resting();
    // Longer than the usual time between two polls.
    await sleep(13_000);
    expect(sent).toEqual([]);
  });

  it('starts delayed jobs and ticks on time, also those that another process adds', { timeout: 40_000 }, async () => {
    const { queue, ran } = await resting();
    const other = play.queue(await play.open());
    Object.assign(other, { name: queue.name });
    const began = performance.now();
    // Later than what used to be left to a poll.
    await other.add('work', 'late', { delay: '17s' });
    await queue.add('work', 'soon', { delay: '2s' });
    await other.every('1h', 'work', 'tick', { repeat: { startDate: Date.now() + 4_000 } });
    await until(() => ran.length === 1);
    expect(performance.now() - began).toBeLessThan(4_000);
    await until(() => ran.length === 2, { timeout: 6_000 });
    await until(() => ran.length === 3, { timeout: 16_000 });
    expect(performance.now() - began).toBeLessThan(19_500);
    expect(ran).toEqual(['soon', 'tick', 'late']);
  });

  it('reads the tables when LISTEN is back', async () => {
    const { queue, sent, ran } = await resting();
    await play.database.sql`insert into conveyor_jobs (queue_name, id, name, data, state)
      values (${queue.name}, 'silent', 'work', '"silent"', 'waiting')`;
    await sleep(300);
    expect([sent, ran]).toEqual([[], []]);
    await killListeners();
    await until(() => ran.length === 1);
  });

  it('goes on looking while jobs are active, so that those of a dead worker are returned', {
    timeout: 60_000,
  }, async () => {
    const { store, queue, ran } = await resting();
    await queue.pause();
    const { id } = await queue.add('work', 'orphan');
    await sleep(100);
    // Under the lease of a worker that will not renew it.
    await play.database.sql`update conveyor_jobs set state = 'active', lease = 1, locked_by = 'dead',
      processed_at = now(), lock_until = now() + interval '12 seconds' where id = ${id}`;
    await queue.resume();
    await until(() => ran.length === 1, { timeout: 40_000 });
    expect(store.engine.connected).toBe(true);
  });
});

it('without LISTEN and polls only what this process knows of is found', { timeout: 40_000 }, async () => {
  const { queue, sent, ran } = await resting({ listen: false });
  await sleep(3_000);
  expect(sent).toEqual([]);
  await queue.add('work', 1);
  await queue.add('work', 2, { delay: 500 });
  await until(() => ran.length === 2);
});

it('pollInterval and heartbeatInterval are kept', { timeout: 40_000 }, async () => {
  const { sent } = await resting({ pollInterval: '3s', heartbeatInterval: '1s' });
  await sleep(4_500);
  const polls = sent.filter((name) => name === 'poll').length;
  // The heartbeat is the poll.
  expect(polls).toBeGreaterThanOrEqual(3);
  expect(polls).toBeLessThanOrEqual(5);
  expect(new Set(sent)).toEqual(new Set(['poll']));
});

it('LISTEN that no longer receives anything is noticed, and that it does again', { timeout: 40_000 }, async () => {
  const { queue, sent, ran } = await resting({ pollInterval: '10s', heartbeatInterval: '1s' });
  const lines = (pattern: RegExp) => play.said.filter(({ message }) => pattern.test(message));
  const deaf = vi.spyOn(NotificationCheck.prototype, 'receive').mockImplementation(() => true);
  await until(() => lines(/hears no notifications/).length > 0, { timeout: 20_000 });
  // Tried on a new connection first.
  expect(lines(/notifications no longer arrive on it/)).toHaveLength(1);
  sent.length = 0;
  await play.database.sql`insert into conveyor_jobs (queue_name, id, name, data, state)
    values (${queue.name}, 'unheard', 'work', '"unheard"', 'waiting')`;
  await until(() => ran.length === 1, { timeout: 2_500 });
  await sleep(5_000);
  expect(lines(/hears no notifications/)).toHaveLength(1);
  deaf.mockRestore();
  await until(() => lines(/receives notifications again/).length > 0, { timeout: 10_000 });
});

it('the options are checked', () => {
  const resolve = (options: object) => resolveOptions({ connection: 'postgres://nobody@127.0.0.1:1/none', ...options });
  expect(resolve({})).toMatchObject({ pollInterval: undefined, heartbeatInterval: 10_000 });
  const never = Number.POSITIVE_INFINITY;
  expect(resolve({ pollInterval: false })).toMatchObject({ pollInterval: never, heartbeatInterval: never });
  expect(resolve({ pollInterval: never })).toMatchObject({ pollInterval: never });
  expect(resolve({ pollInterval: '1 minute' })).toMatchObject({ pollInterval: 60_000, heartbeatInterval: 60_000 });
  expect(resolve({ pollInterval: 200 })).toMatchObject({ pollInterval: 200, heartbeatInterval: 10_000 });
  expect(resolve({ pollInterval: false, heartbeatInterval: '5s' })).toMatchObject({ heartbeatInterval: 5_000 });
  expect(() => resolve({ pollInterval: 50 })).toThrow(/^pollInterval is 50; it must be .* from 100/);
  expect(() => resolve({ pollInterval: true })).toThrow(/^pollInterval is true; it must be a duration, or false/);
  expect(() => resolve({ heartbeatInterval: '500ms' })).toThrow(/^heartbeatInterval is "500ms"; .* from 1000/);
});

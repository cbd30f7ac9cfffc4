import { describe, expect, it } from 'vitest';
import { Queue, type WorkerOptions } from '../../src/index.js';
import { randomPause } from '../support/pauses.js';
import { newName, usePlayground } from '../support/playground.js';
import { countStatements, untilAsleep } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

/** How many ran at once at most, by the database's own record of when each began and ended. */
async function mostAtOnce(queue: Queue, groupId: string | null = null): Promise<number> {
  const [row] = await play.database.sql`
    with spans as (
      select coalesce((record ->> 'startedAt')::timestamptz, processed_at) as began,
        coalesce((record ->> 'endedAt')::timestamptz, completed_at) as ended
      from conveyor_jobs left join jsonb_array_elements(attempt_logs) record on true
      where queue_name = ${queue.name} and (${groupId}::text is null or group_id = ${groupId})),
    steps as (select began as at, 1 as step from spans union all select ended, -1 from spans)
    select max(level)::int as most from (select sum(step) over (order by at, step) as level from steps) levels`;
  return row?.['most'] as number;
}

async function processAll(
  queue: Queue,
  count: number,
  workers: number,
  options: Omit<WorkerOptions, 'store' | 'batch'>,
) {
  const ran: string[] = [];
  const stores = await Promise.all(Array.from({ length: workers }, () => play.open()));
  for (const store of stores) {
    play.worker(
      queue,
      store,
      async ({ id }) => {
        ran.push(id);
        await randomPause(10);
      },
      options,
    );
  }
  await until(async () => (await queue.getJobCounts()).completed === count, { timeout: 25_000 });
  expect(new Set(ran).size).toBe(count);
  expect(ran).toHaveLength(count);
}

describe('limits over all workers', () => {
  it('maxGlobalConcurrency 3 holds over 8 workers', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.addBulk(Array.from({ length: 200 }, () => ({ name: 'work', data: null })));
    await processAll(queue, 200, 8, { concurrency: 5, maxGlobalConcurrency: 3 });
    expect(await mostAtOnce(queue)).toBeLessThanOrEqual(3);
  });

  it('group.concurrency 2 holds for each group, and no group waits for the others to be done', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const groups = ['a', 'b', 'c', 'd'];
    await queue.addBulk(
      groups.flatMap((id) => Array.from({ length: 30 }, () => ({ name: 'work', data: null, opts: { group: { id } } }))),
    );
    await processAll(queue, 120, 4, { concurrency: 10, group: { concurrency: 2 } });
    for (const id of groups) expect(await mostAtOnce(queue, id)).toBeLessThanOrEqual(2);
    const firsts = await play.database.sql`select group_id, min(rank)::int as first from (
      select group_id, rank() over (order by processed_at) as rank from conveyor_jobs where queue_name = ${queue.name}) r
      group by group_id`;
    for (const { first } of firsts) expect(first).toBeLessThanOrEqual(30);
  });

  it('limiter: never more than max starts in any window, and the rest follow', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.addBulk(Array.from({ length: 50 }, () => ({ name: 'work', data: null })));
    await processAll(queue, 50, 3, { concurrency: 10, limiter: { max: 10, duration: 300 } });
    const rows = await play.database.sql`select (extract(epoch from processed_at) * 1000)::float8 as at
      from conveyor_jobs where queue_name = ${queue.name} order by processed_at`;
    const starts = rows.map(({ at }) => Math.round(at as number));
    for (const [i, start] of starts.entries()) {
      const window = starts.slice(i).filter((other) => other < start + 300).length;
      expect(window).toBeLessThanOrEqual(10);
    }
  });

  it('group.limiter is shared by all workers', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.addBulk(
      ['a', 'b'].flatMap((id) =>
        Array.from({ length: 12 }, () => ({ name: 'work', data: null, opts: { group: { id } } })),
      ),
    );
    await processAll(queue, 24, 3, { concurrency: 10, group: { limiter: { max: 4, duration: 300 } } });
    for (const id of ['a', 'b']) {
      const rows = await play.database.sql`select (extract(epoch from processed_at) * 1000)::float8 as at
        from conveyor_jobs where queue_name = ${queue.name} and group_id = ${id} order by processed_at`;
      const starts = rows.map(({ at }) => Math.round(at as number));
      for (const [i, start] of starts.entries()) {
        expect(starts.slice(i).filter((other) => other < start + 300).length).toBeLessThanOrEqual(4);
      }
    }
  });

  it('group.maxSize counts waiting and delayed, exactly, also for adds at the same time', async () => {
    const stores = await Promise.all([play.open(), play.open(), play.open()]);
    const name = newName();
    const queues = stores.map((store) => new Queue(name, { store }));
    const [queue] = queues as [Queue];
    const opts = { group: { id: 'g', maxSize: 5 } };
    const results = await Promise.allSettled(
      Array.from({ length: 30 }, (_, i) => queues[i % 3]?.add('work', i, i % 2 ? { ...opts, delay: 60_000 } : opts)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'GROUP_FULL' });
    }
    await queue.add('work', 'another group', { group: { id: 'h', maxSize: 5 } });
  });

  it('a worker is awake when its limit opens, without a poll', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.addBulk(Array.from({ length: 6 }, () => ({ name: 'work', data: null })));
    const worker = play.worker(queue, store, () => {}, { limiter: { max: 1, duration: 200 }, autoStart: false });
    const statements = countStatements(store);
    worker.start();
    await until(async () => (await queue.count('completed')) === 6);
    expect(statements.count('poll')).toBeLessThanOrEqual(3);
  });

  it('a worker with limits is not kept awake by an empty queue', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const statements = countStatements(store);
    // A window so short that many of them pass before a worker counts as asleep.
    play.worker(queue, store, async () => {}, { limiter: { max: 1, duration: 2 }, maxGlobalConcurrency: 2 });
    await queue.add('work', null);
    await until(async () => (await queue.getJobCounts()).completed === 1);
    await untilAsleep(statements);
  });
});

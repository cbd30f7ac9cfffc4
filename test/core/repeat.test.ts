import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PgStore, Queue } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

async function runs(queue: Queue): Promise<number[]> {
  const rows = await play.database.sql`select coalesce(delay_until, processed_at, created_at) as at from conveyor_jobs
    where queue_name = ${queue.name} and state in ('completed', 'failed') order by processed_at`;
  return rows.map(({ at }) => (at as Date).getTime());
}

const schedules = (queue: Queue) =>
  play.database.sql`select * from conveyor_schedules where queue_name = ${queue.name}`;

/** As if all of this had been registered so many ms earlier. */
async function age(queue: Queue, ms: number): Promise<void> {
  const by = `${ms} milliseconds`;
  await play.database.sql`update conveyor_schedules set tick_at = tick_at - ${by}::interval,
    anchor_at = anchor_at - ${by}::interval where queue_name = ${queue.name}`;
  await play.database.sql`update conveyor_jobs set delay_until = delay_until - ${by}::interval
    where queue_name = ${queue.name} and state = 'delayed'`;
}

async function workers(queue: Queue, stores: PgStore[], run = async () => {}) {
  for (const store of stores) play.worker(queue, store, run);
}

describe('every', () => {
  it('runs at once and then each interval, once per tick under many workers', async () => {
    const stores = await Promise.all([play.open(), play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    await workers(queue, stores);
    const job = await queue.every('200ms', 'tick', { some: 'data' });
    expect(job.state).toBe('waiting');
    await until(async () => (await runs(queue)).length >= 5);
    const [schedule] = await schedules(queue);
    const anchor = new Date(schedule?.['anchor_at']).getTime();
    const ticks = await play.database.sql`select (extract(epoch from created_at) * 1000)::float8 as created, opts
      from conveyor_jobs where queue_name = ${queue.name} order by seq`;
    expect(new Set(ticks.map(({ created }) => created)).size).toBe(ticks.length);
    expect(ticks.length).toBeLessThanOrEqual((new Date(schedule?.['tick_at']).getTime() - anchor) / 200 + 2);
    const due = await play.database.sql`select (extract(epoch from delay_until) * 1000)::float8 as at from conveyor_jobs
      where queue_name = ${queue.name} and state = 'delayed'`;
    // Ticks lie on the schedule's own grid, however long a handler took.
    for (const { at } of due) expect((Math.round(at as number) - anchor) % 200).toBe(0);
  });

  it.each(['before', 'after'])(
    'a process that dies %s it advances the schedule neither ends nor doubles it',
    async (when) => {
      const [doomed, other] = [await play.open(), await play.open()];
      const queue = play.queue(other);
      let died = 0;
      onStatements(doomed, async (name, run) => {
        if (name !== 'advance schedule') return run();
        if (when === 'after') await run();
        died++;
        return new Promise(() => {});
      });
      await workers(queue, [doomed]);
      await queue.every(150, 'tick', null, { repeat: { limit: 4 } });
      await until(() => died > 0);
      await workers(queue, [other]);
      await until(async () => (await schedules(queue))[0]?.['tick_at'] === null);
      await until(async () => (await queue.getJobCounts()).completed === 5);
      expect(await queue.getJobCounts()).toMatchObject({ waiting: 0, delayed: 0, active: 0, completed: 5 });
    },
  );

  it('goes on when a run fails, when the queue is drained, and counts `limit` after the first run', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    let ran = 0;
    await workers(queue, [store], async () => {
      ran++;
      throw new Error('every run fails');
    });
    await queue.every(100, 'tick', null, { repeat: { limit: 3 } });
    await until(() => ran >= 2);
    await queue.drain();
    await until(async () => ((await schedules(queue))[0]?.['runs_left'] ?? -1) === 0);
    await until(async () => {
      const counts = await queue.getJobCounts();
      return counts.waiting + counts.delayed + counts.active === 0;
    });
    // One of the four may have been drained before it ran; there was never a fifth.
    expect(ran).toBeLessThanOrEqual(4);
    expect(ran).toBeGreaterThanOrEqual(3);
  });

  it('waits for startDate', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const startDate = new Date(Date.now() + 60_000);
    const job = await queue.every('1m', 'tick', null, { repeat: { startDate } });
    expect(job.state).toBe('delayed');
    expect(job.delayUntil?.getTime()).toBe(startDate.getTime());
  });

  it('makes no tick after endDate', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await workers(queue, [store]);
    await queue.every(100, 'tick', null, { repeat: { endDate: new Date(Date.now() + 250) } });
    await until(async () => (await schedules(queue))[0]?.['tick_at'] === null);
    await until(async () => {
      const counts = await queue.getJobCounts();
      return counts.waiting + counts.delayed + counts.active === 0;
    });
    // At 0, 100 and 200 ms; a slow machine may miss the later ones.
    const { completed } = await queue.getJobCounts();
    expect(completed).toBeLessThanOrEqual(3);
    expect(completed).toBeGreaterThanOrEqual(1);
  });

  it('catches up with one run for all the ticks that were missed', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.every('1h', 'tick', null);
    const first = await queue.getJobs('waiting');
    await first[0]?.remove();
    await age(queue, 10 * 3_600_000 + 60_000);
    await workers(queue, [store]);
    // What was due is overdue by ten ticks: the next one lies ahead, and between them there is at most one run.
    await until(async () => ((await schedules(queue))[0]?.['tick_at'] as Date)?.getTime() > Date.now());
    const counts = await queue.getJobCounts();
    expect(counts.delayed).toBe(1);
    expect(counts.completed + counts.waiting + counts.active).toBeLessThanOrEqual(1);
  });
});

describe('the same schedule', () => {
  it('registered again by each deploy is one schedule and one job', async () => {
    const stores = await Promise.all([play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    const jobs = await Promise.all(
      Array.from({ length: 20 }, () =>
        queue.cron('0 3 * * *', 'nightly', { a: 1, b: 2 }, { repeat: { tz: 'Europe/Rome' } }),
      ),
    );
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    await queue.cron('0 3 * * *', 'nightly', { b: 2, a: 1 }, { repeat: { tz: 'Europe/Rome' } });
    expect(await schedules(queue)).toHaveLength(1);
    expect((await queue.getJobCounts()).delayed).toBe(1);
  });

  it('is another one for other data, another name, another expression or another key', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.cron('0 3 * * *', 'nightly', 1);
    await queue.cron('0 3 * * *', 'nightly', 2);
    await queue.cron('0 3 * * *', 'other', 1);
    await queue.cron('0 4 * * *', 'nightly', 1);
    await queue.cron('0 3 * * *', 'nightly', 1, { repeat: { key: 'mine' } });
    expect(await schedules(queue)).toHaveLength(5);
    expect((await queue.getSchedules()).map(({ key }) => key)).toContain('mine');
    expect(await queue.removeSchedule('mine')).toBe(true);
    expect(await queue.removeSchedule('mine')).toBe(false);
    expect(await schedules(queue)).toHaveLength(4);
  });
});

describe('cron', () => {
  it('does not run at registration: its first job is delayed until its tick', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.cron('0 0 1 1 *', 'yearly', null);
    expect(job.state).toBe('delayed');
    expect(job.delayUntil?.getTime()).toBe(Date.UTC(new Date().getUTCFullYear() + 1, 0, 1));
  });

  it('fires at its ticks, each once', async () => {
    const stores = await Promise.all([play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    await workers(queue, stores);
    await queue.cron('* * * * * *', 'secondly', null);
    await until(async () => (await queue.getJobCounts()).completed >= 2);
    const rows = await play.database.sql`select processed_at from conveyor_jobs
      where queue_name = ${queue.name} and state = 'completed' order by processed_at`;
    const seconds = rows.map(({ processed_at }) => Math.floor((processed_at as Date).getTime() / 1000));
    expect(new Set(seconds).size).toBe(seconds.length);
  });

  it.each(['', 'x', '99 * * * *', '* * * *', '0 0 30 2 *'])('refuses %j before any SQL', async (expression) => {
    const store = await play.open();
    const queue = play.queue(store);
    await expect(queue.cron(expression, 'bad', null)).rejects.toThrow(RangeError);
    expect(await schedules(queue)).toHaveLength(0);
  });
});

describe.each([
  ['an hour fast', 3_600_000],
  ['an hour slow', -3_600_000],
])('registered by a process whose clock is %s', (_, off) => {
  afterEach(() => void vi.useRealTimers());

  it.each([
    ['every', { every: 100 }],
    ['cron', { cron: '* * * * * *' }],
  ])('%s ticks by the clock of the database', async (_, repeat) => {
    const store = await play.open();
    const queue = play.queue(store);
    await workers(queue, [store]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + off });
    await queue.add('tick', null, { repeat });
    vi.useRealTimers();
    await until(async () => (await queue.getJobCounts()).completed >= 2);
    const [schedule] = await schedules(queue);
    expect(Math.abs(Number(schedule?.['anchor_at']) - Date.now())).toBeLessThan(60_000);
  });

  it('the life of a deduplication key counts by the clock of the database', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + off });
    const add = () => queue.add('work', null, { deduplication: { key: 'k', ttl: 600_000 } });
    const first = await add();
    expect((await add()).id).toBe(first.id);
    await play.database.sql`update conveyor_jobs set created_at = created_at - interval '11 minutes'
      where id = ${first.id}`;
    expect((await add()).id).not.toBe(first.id);
  });
});

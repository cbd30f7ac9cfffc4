import { describe, expect, test } from 'vitest';
import type { JobOptions } from '../../src/model/job.js';
import type { StoredSchedule } from '../../src/model/schedule/stored-schedule.js';
import { advanceSchedules, dueSchedules } from '../../src/store/schedules/list.js';
import { openStore } from '../support/contract-stores.js';
import { openTransaction } from '../support/held.js';
import { HOUR, Q, registration, useSchedules } from '../support/schedules.js';

const { db, store, executor, errors, register, tick, only, jobs, pass, finishAll } = useSchedules();

const NOTHING = { keys: [], waiting: [], delayed: [], removed: [] };

describe('ticks', () => {
  test('when the tick has passed, the job of the next one is made', async () => {
    await register({ every: HOUR });
    expect(await tick()).toBe(1);
    const { anchorAt, tickAt } = await only();
    expect(Number(tickAt) - Number(anchorAt)).toBe(HOUR);
    expect((await jobs()).map(({ state, due }) => [state, due])).toEqual([
      ['waiting', null],
      ['delayed', tickAt],
    ]);
    expect(await tick()).toBe(0);
    expect(await jobs()).toHaveLength(2);
  });

  test('what was missed while nothing ran is one job, then on schedule', async () => {
    await register({ every: HOUR });
    await tick();
    await finishAll();
    const { anchorAt } = await only();
    await pass(HOUR * 7.5);
    expect(await tick()).toBe(1);
    const all = await jobs();
    expect(all.map(({ state }) => state)).toEqual(['completed', 'waiting', 'delayed']);
    const { tickAt } = await only();
    expect((Number(tickAt) - (Number(anchorAt) - HOUR * 7.5)) / HOUR).toBeCloseTo(8, 6);
    expect(all[2]?.due).toEqual(tickAt);
  });

  test('failures, removals and drains do not end it', async () => {
    await register({ every: HOUR });
    await tick();
    for (const how of ['failed', 'removed', 'drained']) {
      await pass(HOUR);
      if (how === 'failed') await db.sql`update conveyor_jobs set state = 'failed' where state = 'waiting'`;
      if (how === 'removed') await db.sql`delete from conveyor_jobs`;
      if (how === 'drained') await store().drain(Q);
      expect(await tick()).toBe(1);
      expect((await jobs()).filter(({ state }) => state === 'delayed')).toHaveLength(1);
    }
  });

  test.each([0, 1, 3])('limit %i: so many repetitions after the first run', async (limit) => {
    await register({ every: HOUR, limit });
    for (let i = 0; i < 6; i++) {
      await tick();
      await finishAll();
      await pass(HOUR);
    }
    expect(await jobs()).toHaveLength(1 + limit);
    expect(await only()).toMatchObject({ tickAt: null, runsLeft: 0 });
  });

  test('no tick after endDate; one at it counts', async () => {
    const startDate = new Date(Date.now() + HOUR);
    const endDate = new Date(startDate.getTime() + 2 * HOUR);
    await register({ every: HOUR, startDate, endDate });
    for (let i = 0; i < 6; i++) {
      await pass(HOUR);
      await tick();
      await finishAll();
    }
    expect(await jobs()).toHaveLength(3);
    expect((await only()).tickAt).toBeNull();
    expect(await tick()).toBe(0);
  });

  test('cron ticks follow its zone', async () => {
    await register({ cron: '30 8 * * *', tz: 'America/New_York' });
    await pass(24 * HOUR);
    await tick();
    const { tickAt } = await only();
    expect(
      new Intl.DateTimeFormat('en', { timeZone: 'America/New_York', timeStyle: 'short' }).format(tickAt as Date),
    ).toBe('8:30 AM');
  });

  test('the jobs are like the first: name, data, options, group', async () => {
    const opts: JobOptions = {
      priority: 3,
      attempts: 4,
      lifo: true,
      group: { id: 'g', maxSize: 1 },
      deduplication: { hash: true },
    };
    const { id } = await register({ every: HOUR }, { deep: ['10.5', null] }, opts);
    const first = await store().getJob(Q, id);
    await db.sql`update conveyor_jobs set state = 'completed'`;
    expect(await tick()).toBe(1);
    const next = await store().getJob(Q, (await jobs()).find(({ state }) => state === 'delayed')?.id as string);
    const { name, data, opts: given, groupId, deduplicationKey } = next as NonNullable<typeof next>;
    expect({ name, data, opts: given, groupId, deduplicationKey }).toEqual({
      name: first?.name,
      data: first?.data,
      opts: first?.opts,
      groupId: 'g',
      deduplicationKey: null,
    });
    const [row] = await db.sql`select priority, seq < 0 as lifo from conveyor_jobs where state = 'delayed'`;
    expect(row).toEqual({ priority: 3, lifo: true });
  });

  test('16 advances at once from 4 stores: one job per tick', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(db.url)));
    await register({ every: HOUR });
    for (let round = 1; round <= 5; round++) {
      const made = await Promise.all(Array.from({ length: 16 }, (_, i) => tick(stores[i % 4])));
      expect(made.reduce((sum, n) => sum + n)).toBe(1);
      expect(await jobs()).toHaveLength(1 + round);
      await finishAll();
      await pass(HOUR);
    }
    await Promise.all(stores.map((each) => each.disconnect()));
  });

  test('a schedule that another holds is passed over; the others are advanced', async () => {
    await register({ every: HOUR }, 'held');
    await register({ every: HOUR }, 'free');
    const other = await openTransaction(db.sql);
    await other.sql`select from conveyor_schedules where data = '"held"' for update`;
    expect(await tick()).toBe(1);
    await other.commit();
    expect(await tick()).toBe(1);
  });

  test('an advance finds a tick that has moved on meanwhile', async () => {
    await register({ every: HOUR });
    const { schedules, now } = await dueSchedules(executor(), Q);
    const { record } = registration({ every: HOUR });
    const ticks = [{ schedule: schedules[0] as StoredSchedule, next: { at: now + HOUR, record } }];
    await db.sql`update conveyor_schedules set tick_at = tick_at + interval '1 hour'`;
    expect(await advanceSchedules(executor(), Q, ticks)).toEqual(NOTHING);
    expect(await jobs()).toHaveLength(1);
  });

  test('a schedule whose job another holds is passed over, and not split from it', async () => {
    await register({ cron: '0 0 1 1 *' });
    await pass(366 * 24 * HOUR);
    const [job] = await jobs();
    const other = await openTransaction(db.sql);
    await other.sql`update conveyor_jobs set data = '"new"'`;
    expect(await tick()).toBe(0);
    await other.commit();
    expect(await tick()).toBe(1);
    expect(await jobs()).toMatchObject([{ id: job?.id, state: 'waiting', data: 'new' }, { state: 'delayed' }]);
  });

  test('a limit that is reached meanwhile ends it', async () => {
    await register({ every: HOUR, limit: 3 });
    const { schedules, now } = await dueSchedules(executor(), Q);
    const { record } = registration({ every: HOUR, limit: 3 });
    // A deploy with a lower limit.
    await db.sql`update conveyor_schedules set runs_left = 0`;
    const schedule = schedules[0] as StoredSchedule;
    const advanced = await advanceSchedules(executor(), Q, [{ schedule, next: { at: now + HOUR, record } }]);
    expect(advanced).toEqual({ ...NOTHING, keys: [schedule.key] });
    expect(await only()).toMatchObject({ tickAt: null, runsLeft: 0 });
    expect(await jobs()).toHaveLength(1);
  });

  test('a tick by hand that is not on the millisecond is advanced like any other', async () => {
    await register({ every: HOUR });
    await db.sql`update conveyor_schedules set tick_at = now() - interval '1 hour 123 microseconds'`;
    expect(await tick()).toBe(1);
  });

  test('the schedule and its job are one: a job that cannot be inserted leaves the tick due', async () => {
    await register({ every: HOUR });
    const before = await only();
    await db.sql.unsafe(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
      create trigger refuse before insert on conveyor_jobs for each row execute function refuse()`);
    const { schedules, now } = await dueSchedules(executor(), Q);
    const { record } = registration({ every: HOUR });
    const ticks = [{ schedule: schedules[0] as StoredSchedule, next: { at: now + HOUR, record } }];
    await expect(advanceSchedules(executor(), Q, ticks)).rejects.toThrow('no');
    expect(await only()).toEqual(before);
    await db.sql`drop function refuse cascade`;
    expect(await tick()).toBe(1);
  });

  test('trouble that passes leaves the tick due, for whichever schedule it meets', async () => {
    await register({ every: HOUR }, 'one');
    await register({ every: HOUR }, 'other');
    await db.sql.unsafe(`create function refuse() returns trigger language plpgsql as $$ begin
        raise 'full' using errcode = '53100'; end $$;
      create trigger refuse before insert on conveyor_jobs for each row execute function refuse()`);
    await expect(tick()).rejects.toMatchObject({ code: 'PG_53100' });
    await db.sql`drop function refuse cascade`;
    expect(await tick()).toBe(2);
    expect(errors()).toEqual([]);
  });

  test('150 due at once are all advanced, in few looks', async () => {
    for (let i = 0; i < 150; i++) await register({ every: HOUR }, i);
    expect((await tick()) + (await tick())).toBe(150);
  });

  test('damaged schedules are reported and put off; the others go on', async () => {
    await register({ every: HOUR }, 'cron', { attempts: 2 });
    await register({ every: HOUR }, 'options');
    await register({ every: HOUR }, 'interval');
    await register({ every: HOUR }, 'good');
    await db.sql`update conveyor_schedules set every_ms = null, cron = 'never' where data = '"cron"'`;
    await db.sql`update conveyor_schedules set opts = '{"priority":"high"}' where data = '"options"'`;
    await db.sql`update conveyor_schedules set every_ms = 0 where data = '"interval"'`;
    expect(await tick()).toBe(1);
    expect(errors().map((message) => message.replace(/.*queue "q"/, ''))).toEqual(
      Array(3).fill(expect.stringContaining('cannot be advanced')),
    );
    expect((await dueSchedules(executor(), Q)).schedules).toEqual([]);
    expect(await tick()).toBe(0);
    expect(errors()).toHaveLength(3);
    // Mended, it goes on.
    await db.sql`update conveyor_schedules set cron = null, every_ms = ${HOUR} where data = '"cron"'`;
    await pass(2 * HOUR);
    expect(await tick()).toBeGreaterThan(0);
  });

  test('says that a job is delayed', async () => {
    const heard: string[] = [];
    store().subscribe(Q, ({ type, jobId }) => heard.push(`${type} ${jobId}`));
    await register({ every: HOUR });
    await tick();
    expect(heard).toEqual([`job:delayed ${(await jobs())[1]?.id}`]);
    store().unsubscribe(Q);
  });
});

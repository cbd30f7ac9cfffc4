import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createJobData } from '../../src/model/create-job-data.js';
import { generateId } from '../../src/model/ids.js';
import type { JobOptions, RepeatOptions } from '../../src/model/job.js';
import { firstTick, scheduleKey, scheduleOf } from '../../src/model/schedule/schedule.js';
import type { StoredSchedule } from '../../src/model/schedule/stored-schedule.js';
import { encodeRecord, type Saved } from '../../src/store/add/insert.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import {
  advanceSchedule,
  dueSchedules,
  listSchedules,
  type Registration,
  registerSchedule,
  removeSchedule,
  tickSchedules,
} from '../../src/store/schedules/list.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';

const db = useDatabase();
let store: PgStore;
const errors: string[] = [];
beforeAll(async () => {
  const error = (message: string) => void errors.push(message);
  const logger = { debug() {}, info() {}, warn() {}, error };
  store = new PgStore({ connection: db.url, autoMigrate: false, listen: false, logger });
  await store.connect();
});
afterAll(() => store.disconnect());
beforeEach(() => {
  errors.length = 0;
  return store.truncateAll();
});

const Q = 'q';
const executor = () => store.engine.executor;
const HOUR = 3_600_000;

/** As `Queue.add` does. */
function registration(repeat: RepeatOptions, data: unknown = { n: 1 }, more: JobOptions = {}) {
  const opts: JobOptions = { ...more, repeat };
  const job = createJobData(Q, 'report', data, opts);
  const first = firstTick(repeat, Date.now()) as number;
  const schedule = scheduleOf(repeat);
  const key = scheduleKey('report', repeat, data);
  const given: Registration = {
    queueName: Q,
    key,
    jobName: 'report',
    data: JSON.stringify(data),
    opts: JSON.stringify(job.opts),
    ...schedule,
    anchorAt: first,
    firstTick: first,
    limit: repeat.limit ?? null,
  };
  const record = encodeRecord(Q, job.id ?? generateId(), job, { maxPayloadBytes: 1e7, scheduleKey: key });
  return { given, record };
}

function register(repeat: RepeatOptions, data?: unknown, more?: JobOptions, by = store): Promise<Saved> {
  const { given, record } = registration(repeat, data, more);
  return registerSchedule(by.engine.executor, given, record);
}

const tick = (by = store) => tickSchedules(by.engine, Q);
const only = async () => {
  const schedules = await listSchedules(executor(), Q);
  expect(schedules).toHaveLength(1);
  return schedules[0] as StoredSchedule;
};
const jobs = () =>
  db.sql<{ id: string; state: string; due: Date | null; key: string; data: unknown }[]>`
    select id, state, delay_until as due, schedule_key as key, data from conveyor_jobs order by seq`;
/** Time passes: everything moves `ms` into the past. */
const pass = async (ms: number) => {
  const by = `${ms} milliseconds`;
  await db.sql`update conveyor_schedules set tick_at = tick_at - ${by}::interval, anchor_at = anchor_at - ${by}::interval,
    start_at = start_at - ${by}::interval, end_at = end_at - ${by}::interval`;
  await db.sql`update conveyor_jobs set delay_until = delay_until - ${by}::interval, created_at = created_at - ${by}::interval`;
  await store.promoteDelayedJobs(Q, Date.now());
};
const finishAll = () =>
  db.sql`update conveyor_jobs set state = 'completed', completed_at = now() where state in ('waiting', 'active')`;

describe('registerSchedule', () => {
  test('an interval begins at once; a cron at its tick', async () => {
    const every = await register({ every: '1h' });
    expect(every).toMatchObject({ created: true, delayUntil: null });
    expect(await jobs()).toMatchObject([{ id: every.id, state: 'waiting', data: { n: 1 } }]);
    expect((await store.fetchNextJob(Q, 'w', 1000))?.opts).toEqual({ repeat: { every: '1h' } });
    await store.truncateAll();

    const cron = await register({ cron: '0 0 1 1 *' });
    const [job] = await jobs();
    expect(job).toMatchObject({ state: 'delayed', due: cron.delayUntil });
    expect(cron.delayUntil?.toISOString()).toMatch(/^\d{4}-01-01T00:00:00.000Z$/);
    expect(await only()).toMatchObject({ cron: '0 0 1 1 *', tickAt: cron.delayUntil, runsLeft: null, key: job?.key });
  });

  test('a start to come delays the first job', async () => {
    const start = new Date(Date.now() + HOUR);
    expect((await register({ every: 1000, startDate: start })).delayUntil).toEqual(start);
    expect(await only()).toMatchObject({ anchorAt: start, startAt: start, tickAt: start });
  });

  test('registered again (each deploy does) it keeps its tick, its counters and its job', async () => {
    const first = await register({ every: HOUR, limit: 5, startDate: new Date(Date.now() - 5) });
    await pass(HOUR * 1.5);
    await tick();
    const before = await only();
    for (let i = 0; i < 3; i++) {
      const again = await register({ every: HOUR, limit: 5, startDate: new Date() });
      expect(again.created).toBe(false);
      expect(again.id).not.toBe(first.id);
    }
    expect(await only()).toEqual({ ...before, opts: expect.anything() });
    expect(await jobs()).toHaveLength(2);
  });

  test('answers with the live job, else the latest, else its own id', async () => {
    const first = await register({ every: HOUR });
    expect((await register({ every: HOUR })).id).toBe(first.id);
    await finishAll();
    expect((await register({ every: HOUR })).id).toBe(first.id);
    await store.removeJob(Q, first.id);
    const { given, record } = registration({ every: HOUR });
    expect(await registerSchedule(executor(), given, record)).toEqual({
      id: record.id,
      created: false,
      delayUntil: null,
    });
    expect(await jobs()).toEqual([]);
  });

  test('16 at once from 4 stores: one schedule, one job, one answer', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(db.url)));
    for (const repeat of [{ every: HOUR }, { cron: '0 4 * * *' }]) {
      await store.truncateAll();
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, i) => register(repeat, undefined, undefined, stores[i % 4])),
      );
      expect(answers.filter(({ created }) => created)).toHaveLength(1);
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
      await only();
      expect(await jobs()).toHaveLength(1);
    }
    await Promise.all(stores.map((each) => each.disconnect()));
  });

  test('one that another transaction is about to commit is found', async () => {
    const { given, record } = registration({ every: HOUR });
    const other = await openTransaction(db.sql);
    await other.sql`insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at)
      values (${Q}, ${given.key}, 'report', ${'{"n":1}'}::text::jsonb, ${given.opts}::text::jsonb, ${HOUR}, now(), now())`;
    const registering = registerSchedule(executor(), given, record);
    await untilWaiting(db.sql);
    await other.commit();
    expect((await registering).created).toBe(false);
    expect(await jobs()).toEqual([]);
  });

  test('one that another transaction is about to remove is made anew', async () => {
    const first = await register({ every: HOUR });
    const other = await openTransaction(db.sql);
    await other.sql`delete from conveyor_schedules`;
    const registering = register({ every: HOUR });
    await untilWaiting(db.sql);
    await other.commit();
    expect(await registering).toMatchObject({ created: true });
    expect((await registering).id).not.toBe(first.id);
    await only();
  });

  test('a job id or key that is taken does not stop the schedule', async () => {
    await store.saveJob(Q, createJobData(Q, 'other', 1, { jobId: 'mine' }));
    expect(await register({ every: HOUR }, 1, { jobId: 'mine' })).toMatchObject({ id: 'mine', created: false });
    await pass(HOUR / 2);
    expect(await tick()).toBe(1);
    const [, next] = await jobs();
    expect(next?.id).not.toBe('mine');
    expect((await store.getJob(Q, next?.id as string))?.opts).toEqual({ repeat: { every: HOUR } });
  });
});

describe('a changed registration', () => {
  const key = 'mine';

  test('of other data and options: the job to come has them too', async () => {
    const { id } = await register({ cron: '0 4 * * *', key }, 'old');
    const { tickAt } = await only();
    expect(await register({ cron: '0 4 * * *', key }, 'new', { priority: 4 })).toMatchObject({ id, created: false });
    expect(await store.getJob(Q, id)).toMatchObject({ data: 'new', opts: { priority: 4 }, state: 'delayed' });
    expect(await only()).toMatchObject({ data: 'new', tickAt });
  });

  test('of another expression: it starts afresh, and the job to come moves', async () => {
    const { id } = await register({ cron: '0 0 1 1 *', key, limit: 3 });
    await db.sql`update conveyor_schedules set runs_left = 1`;
    const moved = await register({ every: '2h', key, limit: 3, startDate: new Date(Date.now() + HOUR) });
    expect(moved).toMatchObject({ id, created: false });
    const schedule = await only();
    expect(schedule).toMatchObject({ cron: null, everyMs: 2 * HOUR, runsLeft: 3, anchorAt: schedule.startAt });
    expect(await jobs()).toMatchObject([{ id, state: 'delayed', due: schedule.tickAt }]);
    // An interval without a start begins now.
    await register({ every: 1000, key });
    expect(await jobs()).toMatchObject([{ id, state: 'waiting', due: null }]);
  });

  test('of another expression while the current job runs: the next one is made', async () => {
    await register({ every: HOUR, key });
    await store.fetchNextJob(Q, 'w', 60_000);
    expect(await register({ cron: '0 0 1 1 *', key })).toMatchObject({ created: true });
    expect((await jobs()).map(({ state }) => state)).toEqual(['active', 'delayed']);
  });

  test('a retry that waits for its backoff is not taken for the job to come', async () => {
    await register({ cron: '0 0 1 1 *', key });
    await db.sql`update conveyor_jobs set attempts_made = 1`;
    await register({ cron: '0 0 2 1 *', key });
    expect((await jobs()).map(({ state }) => state)).toEqual(['delayed', 'delayed']);
  });

  test('of a higher limit, or a later end: it goes on', async () => {
    await register({ every: HOUR, key, limit: 2 });
    await db.sql`update conveyor_schedules set runs_left = 1`;
    await register({ every: HOUR, key, limit: 4 });
    expect((await only()).runsLeft).toBe(3);
    await register({ every: HOUR, key });
    expect((await only()).runsLeft).toBeNull();
    await register({ every: HOUR, key, limit: 4 });
    expect((await only()).runsLeft).toBe(4);

    await db.sql`update conveyor_schedules set runs_left = 0, tick_at = null`;
    await finishAll();
    expect((await register({ every: HOUR, key, limit: 4 })).created).toBe(false);
    expect((await only()).tickAt).toBeNull();
    expect((await register({ every: HOUR, key, limit: 5 })).created).toBe(true);
    expect(await only()).toMatchObject({ runsLeft: 0, tickAt: expect.any(Date) });
  });

  test('of an earlier end: the job to come is withdrawn', async () => {
    await register({ cron: '0 0 1 1 *', key });
    // `Queue.add` refuses a schedule that never fires; the store is asked all the same.
    const { given, record } = registration({ cron: '0 0 1 1 *', key });
    await registerSchedule(executor(), { ...given, endAt: Date.now() + 1000 }, record);
    expect((await only()).tickAt).toBeNull();
    expect(await jobs()).toEqual([]);
  });
});

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
      if (how === 'drained') await store.drain(Q);
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

  test('the jobs are like the first: name, data, options, group, key', async () => {
    const opts: JobOptions = {
      priority: 3,
      attempts: 4,
      lifo: true,
      group: { id: 'g' },
      deduplication: { hash: true },
    };
    const { id } = await register({ every: HOUR }, { deep: ['10.5', null] }, opts);
    const first = await store.getJob(Q, id);
    await db.sql`update conveyor_jobs set state = 'completed'`;
    expect(await tick()).toBe(1);
    const next = await store.getJob(Q, (await jobs()).find(({ state }) => state === 'delayed')?.id as string);
    const { name, data, opts: given, groupId, deduplicationKey } = next as NonNullable<typeof next>;
    expect({ name, data, opts: given, groupId, deduplicationKey }).toEqual({
      name: first?.name,
      data: first?.data,
      opts: first?.opts,
      groupId: 'g',
      deduplicationKey: first?.deduplicationKey,
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
      await pass(HOUR);
    }
    await Promise.all(stores.map((each) => each.disconnect()));
  });

  test('an advance that waits for another finds the tick moved on', async () => {
    await register({ every: HOUR });
    const { schedules, now } = await dueSchedules(executor(), Q);
    const schedule = schedules[0] as StoredSchedule;
    const { record } = registration({ every: HOUR });
    const other = await openTransaction(db.sql);
    await other.sql`update conveyor_schedules set tick_at = tick_at + interval '1 hour'`;
    const advancing = advanceSchedule(executor(), schedule, now + HOUR, record);
    await untilWaiting(db.sql);
    await other.commit();
    expect(await advancing).toEqual({ advanced: false, jobId: null });
    expect(await jobs()).toHaveLength(1);
  });

  test('a limit that is reached meanwhile ends it', async () => {
    await register({ every: HOUR, limit: 3 });
    const { schedules, now } = await dueSchedules(executor(), Q);
    const { record } = registration({ every: HOUR, limit: 3 });
    // A deploy with a lower limit.
    await db.sql`update conveyor_schedules set runs_left = 0`;
    const advanced = await advanceSchedule(executor(), schedules[0] as StoredSchedule, now + HOUR, record);
    expect(advanced).toEqual({ advanced: true, jobId: null });
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
    await expect(advanceSchedule(executor(), schedules[0] as StoredSchedule, now + HOUR, record)).rejects.toThrow('no');
    expect(await only()).toEqual(before);
    await db.sql`drop function refuse cascade`;
    expect(await tick()).toBe(1);
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
    expect(errors.map((message) => message.replace(/.*queue "q"/, ''))).toEqual(
      Array(3).fill(expect.stringContaining('cannot be advanced')),
    );
    expect((await dueSchedules(executor(), Q)).schedules).toEqual([]);
    expect(await tick()).toBe(0);
    expect(errors).toHaveLength(3);
    // Mended, it goes on.
    await db.sql`update conveyor_schedules set cron = null, every_ms = ${HOUR} where data = '"cron"'`;
    await pass(2 * HOUR);
    expect(await tick()).toBeGreaterThan(0);
  });

  test('says that a job is delayed', async () => {
    const heard: string[] = [];
    store.subscribe(Q, ({ type, jobId }) => heard.push(`${type} ${jobId}`));
    await register({ every: HOUR });
    await tick();
    expect(heard).toEqual([`job:delayed ${(await jobs())[1]?.id}`]);
    store.unsubscribe(Q);
  });
});

describe('removeSchedule', () => {
  test('ends it; the job that is there stays', async () => {
    await register({ every: HOUR, key: 'k' });
    expect(await removeSchedule(executor(), 'other', 'k')).toBe(false);
    expect(await removeSchedule(executor(), Q, 'k')).toBe(true);
    expect(await removeSchedule(executor(), Q, 'k')).toBe(false);
    expect(await tick()).toBe(0);
    expect(await jobs()).toHaveLength(1);
    expect(await register({ every: HOUR, key: 'k' })).toMatchObject({ created: true });
  });
});

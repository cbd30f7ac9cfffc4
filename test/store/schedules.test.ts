import { describe, expect, test } from 'vitest';
import type { RepeatOptions } from '../../src/model/job.js';
import { registerSchedule, removeSchedule } from '../../src/store/schedules/list.js';
import { openStore } from '../support/contract-stores.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { insertRow, jobIn } from '../support/rows.js';
import { HOUR, Q, registration, useSchedules } from '../support/schedules.js';

const { db, store, executor, register, tick, only, jobs, pass, finishAll } = useSchedules();

describe('registerSchedule', () => {
  test('an interval begins at once; a cron at its tick', async () => {
    const every = await register({ every: '1h' });
    expect(every).toMatchObject({ created: true, delayUntil: null });
    expect(await jobs()).toMatchObject([{ id: every.id, state: 'waiting', data: { n: 1 } }]);
    expect((await store().fetchNextJob(Q, 'w', 1000))?.opts).toEqual({ repeat: { every: '1h' } });
    await store().truncateAll();

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
    await store().removeJob(Q, first.id);
    const { given, record } = registration({ every: HOUR });
    expect(await registerSchedule(executor(), given, record)).toMatchObject({
      id: record.id,
      created: false,
      delayUntil: null,
      createdAt: null,
    });
    expect(await jobs()).toEqual([]);
  });

  test('16 at once from 4 stores: one schedule, one job, one answer', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(db.url)));
    for (const repeat of [{ every: HOUR }, { cron: '0 4 * * *' }]) {
      await store().truncateAll();
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
    await other.sql`delete from conveyor_jobs`;
    const registering = register({ every: HOUR });
    await untilWaiting(db.sql);
    await other.commit();
    expect(await registering).toMatchObject({ created: true });
    expect((await registering).id).not.toBe(first.id);
    await only();
    expect(await jobs()).toMatchObject([{ id: (await registering).id, state: 'waiting' }]);
  });

  test('one that moves to its next tick meanwhile is registered with the job of that tick', async () => {
    const key = 'k';
    await register({ every: HOUR, key });
    await finishAll();
    const other = await openTransaction(db.sql);
    await other.sql`update conveyor_schedules set tick_at = tick_at + interval '1 hour'`;
    await insertRow(other.sql, { queue_name: Q, id: 'next', state: 'delayed', schedule_key: key });
    await other.sql`update conveyor_jobs set delay_until = (select tick_at from conveyor_schedules) where id = 'next'`;
    const registering = register({ cron: '0 0 1 1 *', key });
    await untilWaiting(db.sql);
    await other.commit();
    expect(await registering).toMatchObject({ id: 'next', created: false, adopted: 'delayed' });
    expect((await jobs()).map(({ state }) => state)).toEqual(['completed', 'delayed']);
  });

  test('a job id names the first job; taken, it loses no tick', async () => {
    const opts = { jobId: 'mine' };
    expect(await register({ every: HOUR }, 1, opts)).toMatchObject({ id: 'mine', created: true });
    await finishAll();
    await tick();
    expect((await jobs()).map(({ id }) => id)).toEqual(['mine', expect.not.stringMatching('mine')]);
    const other = await register({ cron: '0 4 * * *' }, 1, opts);
    expect(other).toMatchObject({ id: expect.not.stringMatching('mine'), created: true });
    expect(await store().getJob(Q, other.id)).toMatchObject({ state: 'delayed', delayUntil: other.delayUntil });
  });
});

test('one that is restarted meanwhile, in the same millisecond, has one job', async () => {
  const key = 'k';
  await register({ every: HOUR, key });
  await store().drain(Q);
  const other = await openTransaction(db.sql);
  await other.sql`update conveyor_schedules set every_ms = 5`;
  await insertRow(other.sql, { queue_name: Q, id: 'first', schedule_key: key });
  const registering = register({ every: HOUR / 2, key });
  await untilWaiting(db.sql);
  await other.commit();
  expect(await registering).toMatchObject({ id: 'first', created: false });
  expect(await jobs()).toHaveLength(1);
});

describe('a changed registration', () => {
  const key = 'mine';

  test('of other data and options: the job to come has them too', async () => {
    const { id } = await register({ cron: '0 4 * * *', key }, 'old');
    const { tickAt } = await only();
    expect(await register({ cron: '0 4 * * *', key }, 'new', { priority: 4 })).toMatchObject({ id, created: false });
    expect(await store().getJob(Q, id)).toMatchObject({ data: 'new', opts: { priority: 4 }, state: 'delayed' });
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
    await store().fetchNextJob(Q, 'w', 60_000);
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

describe('removeSchedule', () => {
  const key = 'k';
  const remove = (queue = Q, which = key, by = store()) => removeSchedule(by.engine.executor, queue, which);

  test('ends it, and its jobs that have not begun go with it', async () => {
    const { id: first } = await register({ every: HOUR, key });
    await register({ every: HOUR, key: 'other' });
    await store().saveJob(Q, jobIn('waiting', { id: 'single' }));
    await tick();
    const [, , , next] = await jobs();
    expect(await remove('other')).toEqual({ removed: false, jobIds: [] });
    const { removed, jobIds } = await remove();
    expect(removed).toBe(true);
    expect(jobIds.sort()).toEqual([first, next?.id].sort());
    expect(await remove()).toEqual({ removed: false, jobIds: [] });
    expect(await tick()).toBe(0);
    expect((await jobs()).map(({ key, id }) => key ?? id)).toEqual(['other', 'single', 'other']);
  });

  test.each([
    ['runs', `state = 'active', processed_at = now(), lease = 1`],
    ['waits for its next attempt', `state = 'delayed', attempts_made = 1, delay_until = now()`],
    ['was returned after its worker was lost', `state = 'waiting', processed_at = now()`],
    ['is retried by hand', `state = 'waiting', attempt_logs = '[{"attempt": 1}]'`],
    ['has ended', `state = 'completed', completed_at = now()`],
  ])('a job that %s stays', async (_, change) => {
    const { id } = await register({ every: HOUR, key });
    await tick();
    await db.sql.unsafe(`update conveyor_jobs set ${change} where id = '${id}'`);
    expect((await remove()).jobIds).toHaveLength(1);
    expect((await jobs()).map((job) => job.id)).toEqual([id]);
  });

  test('while it moves to its next tick: that job goes, too', async () => {
    await register({ every: HOUR, key });
    const other = await openTransaction(db.sql);
    await other.sql`update conveyor_schedules set tick_at = tick_at + interval '1 hour'`;
    await insertRow(other.sql, { queue_name: Q, id: 'next', state: 'delayed', schedule_key: key });
    const removing = remove();
    await untilWaiting(db.sql);
    await other.commit();
    expect((await removing).removed).toBe(true);
    expect(await jobs()).toEqual([]);
  });

  test('a job that is claimed meanwhile stays', async () => {
    const { id } = await register({ every: HOUR, key });
    const other = await openTransaction(db.sql);
    await other.sql`update conveyor_jobs set state = 'active', processed_at = now(), lease = 1`;
    const removing = remove();
    await untilWaiting(db.sql);
    await other.commit();
    expect(await removing).toEqual({ removed: true, jobIds: [] });
    expect(await jobs()).toMatchObject([{ id, state: 'active' }]);
  });

  test('jobs that an older version left behind go even without their schedule', async () => {
    const { id } = await register({ cron: '0 4 * * *', key });
    await db.sql`delete from conveyor_schedules`;
    expect(await remove()).toEqual({ removed: false, jobIds: [id] });
  });

  test.each([
    ['every', { every: HOUR, key }],
    ['cron', { cron: '0 4 * * *', key }],
  ])('and registered again 20 times, %s has one job', async (_, repeat) => {
    for (let i = 0; i < 20; i++) {
      await remove();
      await register(repeat);
      // The ones that ended in between are of ticks of their own.
      expect(await jobs()).toHaveLength(1);
    }
    await only();
  });

  test('and registered again by four stores at once: one schedule, one job', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(db.url)));
    for (const repeat of [
      { cron: '0 4 * * *', key },
      { every: HOUR, key },
    ]) {
      await store().truncateAll();
      await Promise.all(
        stores.map(async (by) => {
          for (let i = 0; i < 20; i++) {
            await remove(Q, key, by);
            await register(repeat, undefined, undefined, by);
          }
        }),
      );
      await only();
      expect(await jobs()).toHaveLength(1);
    }
    await Promise.all(stores.map((each) => each.disconnect()));
  });
});

describe('jobs that an older version left behind', () => {
  const key = 'k';
  const cron = { cron: '0 4 * * *', key };

  /** Removing kept the job, and registering made another. */
  async function leave(repeat: RepeatOptions, times: number) {
    for (let i = 0; i < times; i++) {
      await register(repeat);
      await db.sql`delete from conveyor_schedules`;
      await db.sql`update conveyor_jobs set schedule_key = 'left', deduplication_key = 'left-' || id`;
    }
    await db.sql`update conveyor_jobs set schedule_key = ${key}`;
  }

  test('are adopted: one job for the tick', async () => {
    await leave(cron, 3);
    const [first, ...others] = await jobs();
    const registered = await register(cron, 'new');
    expect(registered).toMatchObject({ id: first?.id, created: false, adopted: 'delayed' });
    expect(registered.withdrawn.sort()).toEqual(others.map(({ id }) => id).sort());
    const { tickAt } = await only();
    expect(await jobs()).toMatchObject([{ id: first?.id, state: 'delayed', due: tickAt, data: 'new' }]);
    expect((await store().getJob(Q, registered.id))?.deduplicationKey).toBeNull();
  });

  test('are adopted by an interval that begins now', async () => {
    await leave({ every: HOUR, key }, 1);
    const [first] = await jobs();
    expect(await register({ every: HOUR, key })).toMatchObject({ id: first?.id, adopted: 'waiting', withdrawn: [] });
    expect(await jobs()).toMatchObject([{ state: 'waiting', due: null }]);
  });

  test.each(['all', 'skip'] as const)('beside the schedule are reduced to one, overlap %s', async (overlap) => {
    for (const by of ['registering', 'advancing']) {
      await store().truncateAll();
      await leave(cron, 2);
      await register({ ...cron, overlap });
      const twin = `insert into conveyor_jobs (queue_name, id, name, data, opts, state, delay_until, schedule_key)
        select queue_name, id || '-2', name, data, opts, state, delay_until, schedule_key from conveyor_jobs`;
      await db.sql.unsafe(twin);
      if (by === 'registering') expect((await register({ ...cron, overlap })).withdrawn).toHaveLength(1);
      await pass(25 * HOUR);
      expect(await tick()).toBe(1);
      expect((await jobs()).map(({ state }) => state).sort()).toEqual(['delayed', 'waiting']);
    }
  });
});

import { beforeAll, describe, expect, test } from 'vitest';
import type { OverlapPolicy } from '../../src/model/job.js';
import type { StoredSchedule } from '../../src/model/schedule/stored-schedule.js';
import { promoteAll, promoteChunk } from '../../src/store/change/promote.js';
import { advanceSchedules, registerSchedule, removeSchedule } from '../../src/store/schedules/list.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { planOf, statementOf } from '../support/plan.js';
import { insertRow, insertRows } from '../support/rows.js';
import { HOUR, Q, registration, useSchedules } from '../support/schedules.js';

const { db, store, executor, register, tick, only, jobs, pass, finishAll } = useSchedules();

const states = async () => (await jobs()).map(({ state }) => state);
const claim = () => store().fetchNextJob(Q, 'w', 60_000);
const start = (overlap?: OverlapPolicy) => register({ every: HOUR, key: 'k', ...(overlap && { overlap }) });

async function hours(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await pass(HOUR);
    await tick();
  }
}

/** Ticks lie on the grid of the interval, and the job of the next one is ahead. */
async function expectAhead(): Promise<void> {
  const { tickAt, anchorAt } = await only();
  const ahead = (await jobs()).filter(({ state }) => state === 'delayed');
  expect(ahead.map(({ due }) => due)).toEqual([tickAt]);
  expect((Number(tickAt) - Number(anchorAt)) % HOUR).toBe(0);
  expect(Number(tickAt)).toBeGreaterThan(Date.now());
}

/** What may be in the way of the next job, as SQL that makes it of the first. */
const BLOCKS: [string, string][] = [
  ['waits', `state = 'waiting'`],
  ['runs', `state = 'active', processed_at = now(), lock_until = now() + interval '1 day'`],
  ['is stalled', `state = 'active', processed_at = now(), lock_until = now() - interval '1 day'`],
  ['waits for its next attempt', `state = 'delayed', attempts_made = 1, delay_until = now() + interval '1 day'`],
  ['was postponed by its handler', `state = 'delayed', processed_at = now(), delay_until = now() + interval '1 day'`],
];

describe('skip, the default', () => {
  test.each(BLOCKS)('while a job %s, no other becomes waiting; then the ticks go on', async (_, change) => {
    const { id } = await start();
    await tick();
    await db.sql.unsafe(`update conveyor_jobs set ${change} where id = '${id}'`);
    const [before] = (await jobs()).filter((job) => job.id === id);
    await hours(5);
    const all = await jobs();
    expect(all).toHaveLength(2);
    expect(all.find((job) => job.id === id)?.state).toBe(before?.state);
    await db.sql`update conveyor_jobs set state = 'completed' where id = ${id}`;
    await hours(1);
    expect((await states()).sort()).toEqual(['completed', 'delayed', 'waiting']);
    await expectAhead();
  });

  test('a tick that is passed over keeps its job, which moves to the next one', async () => {
    await start();
    await tick();
    const [, ahead] = await jobs();
    await hours(3);
    expect((await jobs()).map(({ id }) => id)).toContain(ahead?.id);
    await expectAhead();
  });

  test('ticks that are passed over do not use up the limit', async () => {
    await register({ every: HOUR, limit: 2 });
    await tick();
    await hours(4);
    for (let i = 0; i < 4; i++) {
      await finishAll();
      await hours(1);
    }
    await finishAll();
    expect(await states()).toEqual(['completed', 'completed', 'completed']);
    expect(await only()).toMatchObject({ tickAt: null, runsLeft: 0 });
  });

  test('the last tick of all, passed over, leaves no job', async () => {
    const removed: unknown[] = [];
    store().subscribe(Q, ({ type, jobId }) => type === 'job:removed' && removed.push(jobId));
    await register({ every: HOUR, endDate: new Date(Date.now() + 1.5 * HOUR) });
    await tick();
    const [, last] = await jobs();
    await hours(2);
    expect(await states()).toEqual(['waiting']);
    expect((await only()).tickAt).toBeNull();
    expect(removed).toEqual([last?.id]);
    store().unsubscribe(Q);
  });

  test('a worker that was away makes up for what it missed with one run', async () => {
    await start();
    await tick();
    await finishAll();
    await pass(10.5 * HOUR);
    expect(await promoteChunk(executor(), Q)).toEqual([]);
    expect(await tick()).toBe(1);
    expect((await states()).sort()).toEqual(['completed', 'delayed', 'waiting']);
    await expectAhead();
  });

  test('jobs of other schedules, names and queues are not in the way', async () => {
    await start();
    await tick();
    await finishAll();
    await register({ every: HOUR, key: 'other' });
    await insertRow(db.sql, { queue_name: 'elsewhere', id: 'x', schedule_key: 'k' });
    await pass(HOUR);
    await tick();
    expect((await jobs()).filter(({ key, state }) => key === 'k' && state === 'waiting')).toHaveLength(2);
  });

  test('a job that the database refuses to change does not stop the ticks', async () => {
    const { id } = await start();
    await tick();
    store().engine.setAside.add(id, new Error('refused'));
    await hours(1);
    expect((await states()).filter((state) => state === 'waiting')).toHaveLength(2);
  });

  test('promoted by hand, a job runs beside the others', async () => {
    await start();
    await tick();
    const [, ahead] = await jobs();
    await claim();
    expect((await promoteAll(executor(), Q)).count).toBe(1);
    expect(await states()).toEqual(['active', 'waiting']);
    await hours(1);
    // The tick whose job ran before its time has none; the next one has.
    expect(await states()).toEqual(['active', 'waiting', 'delayed']);
    expect((await jobs()).map(({ id }) => id).indexOf(ahead?.id as string)).toBe(1);
    await expectAhead();
  });

  test('removed and registered while a job runs, it begins when that has ended', async () => {
    const { id } = await start();
    await claim();
    await db.sql`delete from conveyor_schedules`;
    const again = await start();
    expect(again).toMatchObject({ created: true, delayUntil: expect.any(Date) });
    await tick();
    expect(await states()).toEqual(['active', 'delayed']);
    await expectAhead();
    await db.sql`update conveyor_jobs set state = 'completed' where id = ${id}`;
    await hours(1);
    expect(await states()).toEqual(['completed', 'waiting', 'delayed']);
  });
});

describe('queue', () => {
  test('one job waits behind one that runs', async () => {
    await start('queue');
    await claim();
    await tick();
    await hours(4);
    expect((await states()).sort()).toEqual(['active', 'delayed', 'waiting']);
    await expectAhead();
    await db.sql`update conveyor_jobs set state = 'completed' where state = 'active'`;
    await claim();
    await hours(4);
    expect((await states()).sort()).toEqual(['active', 'completed', 'delayed', 'waiting']);
  });

  test('while none runs, one waits', async () => {
    await start('queue');
    await tick();
    await hours(4);
    expect((await states()).sort()).toEqual(['delayed', 'waiting']);
  });

  test('jobs that wait for their next attempt make no pile', async () => {
    const { id } = await start('queue');
    await tick();
    const between = `state = 'delayed', attempts_made = 1, delay_until = now() + interval '30 days'`;
    await db.sql.unsafe(`update conveyor_jobs set ${between} where id = '${id}'`);
    for (let i = 0; i < 4; i++) {
      await hours(1);
      await db.sql.unsafe(`update conveyor_jobs set ${between} where state = 'waiting'`);
    }
    expect(await jobs()).toHaveLength(3);
  });
});

test('all: each tick has its run', async () => {
  await start('all');
  await tick();
  await hours(4);
  expect((await states()).filter((state) => state === 'waiting')).toHaveLength(5);
  await expectAhead();
});

test('another policy takes effect when it is registered', async () => {
  await start();
  await tick();
  await hours(1);
  expect((await only()).overlap).toBe('skip');
  await start('all');
  expect((await only()).overlap).toBe('all');
  await hours(2);
  expect((await states()).filter((state) => state === 'waiting')).toHaveLength(3);
  await start('skip');
  await hours(2);
  expect((await states()).filter((state) => state === 'waiting')).toHaveLength(3);
});

test('four stores at once that advance and promote: never two that have begun to wait', async () => {
  const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(db.url)));
  await start();
  await tick();
  for (let round = 0; round < 10; round++) {
    await pass(HOUR);
    if (round % 3 === 0) await finishAll();
    await Promise.all(
      stores.flatMap((by) => [tick(by), promoteChunk(by.engine.executor, Q), tick(by)] as Promise<unknown>[]),
    );
    expect((await states()).filter((state) => state === 'waiting')).toHaveLength(1);
    await expectAhead();
  }
  await Promise.all(stores.map((each) => each.disconnect()));
});

describe('plans over 100,000 ended jobs of one schedule', () => {
  const big = useDatabase();

  beforeAll(async () => {
    const { sql } = big;
    await insertRows(sql, Q, 100_000, { state: `'completed'`, completed_at: 'now()', schedule_key: `'k'` });
    await insertRows(sql, Q, 1, { id: `'now'`, state: `'active'`, processed_at: 'now()', schedule_key: `'k'` });
    await insertRows(sql, Q, 1_000, {
      id: `'d-' || i`,
      state: `'delayed'`,
      delay_until: 'now()',
      schedule_key: `'k-' || i`,
    });
    await sql`insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at)
      select ${Q}, 'k-' || i, 'job', 'null', '{}', 1000, now(), now() from generate_series(1, 20000) i`;
    await sql`insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at)
      values (${Q}, 'k', 'job', 'null', '{}', 1000, now(), date_trunc('ms', now()))`;
    await sql`vacuum (analyze) conveyor_jobs, conveyor_schedules`;
  });

  test.each(['advancing', 'registering', 'removing', 'promoting'])('%s reads none of them', async (what) => {
    const { given, record } = registration({ every: 1000, key: 'k' });
    const [row] = await big.sql`select tick_at from conveyor_schedules where key = 'k'`;
    const schedule = { key: 'k', tickAt: row?.['tick_at'] } as StoredSchedule;
    const found = await planOf(
      big.sql,
      await statementOf(async (e) => {
        if (what === 'advancing') await advanceSchedules(e, Q, [{ schedule, next: { at: Date.now() + HOUR, record } }]);
        if (what === 'registering') await registerSchedule(e, given, record);
        if (what === 'removing') await removeSchedule(e, Q, 'k');
        if (what === 'promoting') await promoteChunk(e, Q);
      }),
      // As in the store's own pool.
      { enable_seqscan: 'off', enable_bitmapscan: 'off' },
    );
    expect(found.filter(({ type, table }) => type === 'Seq Scan' && table?.startsWith('conveyor'))).toEqual([]);
    expect(Math.max(...found.map(({ rows }) => rows))).toBeLessThanOrEqual(1_001);
    if (what !== 'promoting') expect(found.map(({ index }) => index)).toContain('conveyor_jobs_schedule_live_idx');
    if (what !== 'registering') {
      expect(found.map(({ index }) => index)).not.toContain('conveyor_jobs_schedule_idx');
    }
  });
});

import { describe, expect, test } from 'vitest';
import { deleteSpentSchedules } from '../../src/store/remove/delete-spent-schedules.js';
import { listSchedules } from '../../src/store/schedules/list.js';
import { planOf, statementOf } from '../support/plan.js';
import { HOUR, Q, useSchedules } from '../support/schedules.js';

const { db, executor, register, tick, jobs, pass, finishAll } = useSchedules();
const DAY = 24 * HOUR;
const limited = { every: HOUR, key: 'limited', limit: 1 };
const ended = () => ({ every: HOUR, key: 'ended', endDate: new Date(Date.now() + 1.5 * HOUR) });

/** As if all schedules had ended so much earlier, if they have. */
const age = (ms: number) =>
  db.sql`update conveyor_schedules set ended_at = ended_at - ${`${ms / 1000} seconds`}::interval`;
const keys = async () => (await listSchedules(executor(), Q)).map(({ key }) => key).sort();

async function runOut(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await tick();
    await finishAll();
    await pass(HOUR);
  }
}

describe('a schedule without further ticks', () => {
  test('is deleted a day after its endDate, and 30 days after its limit was reached', async () => {
    await register(limited);
    await register(ended());
    await register({ every: HOUR, key: 'goes on' });
    await runOut();
    await age(DAY - HOUR);
    await deleteSpentSchedules(executor());
    expect(await keys()).toEqual(['ended', 'goes on', 'limited']);
    await age(2 * HOUR);
    await deleteSpentSchedules(executor());
    expect(await keys()).toEqual(['goes on', 'limited']);
    await age(29 * DAY);
    await deleteSpentSchedules(executor());
    expect(await keys()).toEqual(['goes on']);
  });

  test('at its limit it is kept as long as deploys register it, and does not begin anew', async () => {
    await register(limited);
    await runOut();
    for (let i = 0; i < 3; i++) {
      await age(29 * DAY);
      expect((await register(limited)).created).toBe(false);
      await deleteSpentSchedules(executor());
    }
    expect(await keys()).toEqual(['limited']);
    expect(await jobs()).toHaveLength(2);
  });

  test('resumed by a higher limit it is not spent any more', async () => {
    await register(limited);
    await runOut();
    await age(29 * DAY);
    await register({ ...limited, limit: 3 });
    const [row] = await db.sql`select tick_at, ended_at from conveyor_schedules`;
    expect(row).toEqual({ tick_at: expect.any(Date), ended_at: null });
    await runOut();
    await age(2 * DAY);
    await deleteSpentSchedules(executor());
    expect(await keys()).toEqual(['limited']);
  });

  test('that an older version has ended gets its time from when it is found', async () => {
    await register(limited);
    await db.sql`update conveyor_schedules set tick_at = null, runs_left = 0, created_at = now() - interval '1 year'`;
    await deleteSpentSchedules(executor());
    await age(29 * DAY);
    await deleteSpentSchedules(executor());
    expect(await keys()).toEqual(['limited']);
    await age(2 * DAY);
    await deleteSpentSchedules(executor());
    expect(await keys()).toEqual([]);
  });

  test('is found by an index, in chunks', async () => {
    await db.sql`insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at, ended_at)
      select ${Q}, 'k-' || i, 'job', 'null', '{}', 1000, now(), case when i > 2500 then now() end,
        case when i <= 2500 then now() - interval '2 days' end from generate_series(1, 20000) i`;
    await db.sql`vacuum (analyze) conveyor_schedules`;
    const found = await planOf(db.sql, await statementOf(deleteSpentSchedules));
    expect(found.map(({ index }) => index)).toContain('conveyor_schedules_ended_idx');
    expect(Math.max(...found.map(({ rows }) => rows))).toBeLessThanOrEqual(1_001);
    await deleteSpentSchedules(executor());
    expect(await keys()).toHaveLength(17_500);
  });
});

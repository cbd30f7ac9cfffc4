/** Random sequences of what may happen to one schedule, by several stores at once. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { PgStore } from '../../src/index.js';
import { promoteChunk } from '../../src/store/change/promote.js';
import { removeSchedule } from '../../src/store/schedules/list.js';
import { openStore } from '../support/contract-stores.js';
import { Q, useSchedules } from '../support/schedules.js';
import { until } from '../support/until.js';

const { db, executor, register, tick, only, jobs } = useSchedules();
const key = 'k';
const EVERY = 20;

/** Times at which a job of the schedule became waiting: the tick that it was for. */
async function recordTicks(): Promise<void> {
  await db.sql.unsafe(`
    drop table if exists ran cascade;
    create table ran (id text, tick timestamptz, became timestamptz default clock_timestamp());
    create or replace function note() returns trigger language plpgsql as $$ begin
      if tg_op = 'INSERT' and new.state = 'waiting' then insert into ran (id) values (new.id); end if;
      if tg_op = 'UPDATE' and old.state = 'delayed' and new.state = 'waiting' then
        insert into ran (id, tick) values (new.id, old.delay_until); end if;
      return null; end $$;
    drop trigger if exists note on conveyor_jobs;
    create trigger note after insert or update on conveyor_jobs for each row execute function note()`);
}

interface Live {
  ahead: number;
  begun: number;
}

/** Jobs of the schedule that have not ended: of its next tick, and others. */
async function live(): Promise<Live> {
  const [row] = await db.sql<Live[]>`
    select count(*) filter (where state = 'delayed')::int as ahead, count(*) filter (where state <> 'delayed')::int as begun
    from conveyor_jobs where schedule_key = ${key} and state not in ('completed', 'failed')`;
  return row as Live;
}

const actions: ((store: PgStore) => Promise<unknown>)[] = [
  (by) => tick(by),
  (by) => tick(by),
  (by) => tick(by),
  (by) => promoteChunk(by.engine.executor, Q),
  (by) => register({ every: EVERY, key }, 1, {}, by),
  (by) => register({ every: EVERY, key }, randomInt(3), {}, by),
  (by) => register({ every: EVERY + randomInt(2), key }, 1, {}, by),
  (by) => removeSchedule(by.engine.executor, Q, key).then(() => register({ every: EVERY, key }, 1, {}, by)),
  (by) => removeSchedule(by.engine.executor, Q, key),
  (by) => by.pauseJobName(Q, randomInt(2) ? 'report' : '__all__'),
  (by) => Promise.all(['report', '__all__'].map((name) => by.resumeJobName(Q, name))),
  (by) => by.drain(Q),
  async (by) => {
    const job = await by.fetchNextJob(Q, 'w', 60_000);
    await sleep(randomInt(60));
    if (job) await by.updateJob(Q, job.id, { state: 'completed', completedAt: new Date() });
  },
];

describe('by four stores at once, in any order', () => {
  test.each([1, 2, 3])('one job per tick, one at a time, and the ticks go on (round %i)', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(db.url)));
    await recordTicks();
    const end = Date.now() + 2_500;
    let most: Live = { ahead: 0, begun: 0 };
    // On a busy machine the watcher looks seldom: until it has seen both.
    const over = () => Date.now() >= end + (most.ahead > 0 && most.begun > 0 ? 0 : 20_000);
    const watch = async () => {
      while (!over()) {
        const { ahead, begun } = await live();
        most = { ahead: Math.max(most.ahead, ahead), begun: Math.max(most.begun, begun) };
      }
    };
    const act = async (by: PgStore) => {
      while (!over()) {
        const action = actions[randomInt(actions.length)] as (typeof actions)[0];
        await action(by);
        await sleep(randomInt(3));
      }
    };
    await Promise.all([watch(), ...stores.flatMap((by) => [act(by), act(by)])]);
    expect(most).toEqual({ ahead: 1, begun: 1 });
    const twice =
      await db.sql`select tick, array_agg(id) from ran where tick is not null group by 1 having count(*) > 1`;
    expect([...twice]).toEqual([]);

    await register({ every: EVERY, key });
    await Promise.all(['report', '__all__'].map((name) => stores[0]?.resumeJobName(Q, name)));
    const [{ n: before } = { n: 0 }] = await db.sql`select count(*)::int as n from ran`;
    await until(async () => {
      await tick();
      await db.sql`update conveyor_jobs set state = 'completed', completed_at = now() where state in ('waiting', 'active')`;
      const [{ n } = { n: 0 }] = await db.sql`select count(*)::int as n from ran`;
      return n >= before + 3;
    });
    const { tickAt } = await only();
    expect((await jobs()).filter(({ state }) => state === 'delayed').map(({ due }) => due)).toEqual([tickAt]);
    await Promise.all(stores.map((each) => each.disconnect()));
    await removeSchedule(executor(), Q, key);
  });
});

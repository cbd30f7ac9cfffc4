import { describe, expect, test } from 'vitest';
import { type Claimer, mostActive, useClaimers } from '../support/claimers.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { randomPause } from '../support/pauses.js';
import { insertRows, newQueue } from '../support/rows.js';
import { until } from '../support/until.js';

const database = useDatabase();
const claimers = useClaimers(database);

/** Jobs in the order given, named after their group and number: `a1`, `a2`, `b1`; `-` stands for no group. */
async function jobs(queueName: string, groups: string, fields: Record<string, string> = {}): Promise<void> {
  const counts = new Map<string, number>();
  for (const group of groups.split(' ')) {
    const n = (counts.get(group) ?? 0) + 1;
    counts.set(group, n);
    const columns = { id: `'${group}${n}'`, group_id: group === '-' ? 'null' : `'${group}'`, ...fields };
    await insertRows(database.sql, queueName, 1, columns);
  }
}

async function one(queueName: string): Promise<Claimer> {
  return (await claimers(queueName, 1))[0]!;
}

const ROUND_ROBIN = { groupConcurrency: 1_000 };

describe('against each other', () => {
  test.each([1, 2, 3])(
    '16 claimers, 500 groups, at most %i active in each: none twice, none over, none starved',
    async (max) => {
      const q = newQueue();
      const count = 6_700;
      // 480 equal groups, and 20 that have so much more that at last all of it is theirs, and the limit decides.
      await insertRows(database.sql, q, count, {
        group_id: `'g' || case when i > 5500 then i % 20 else (i * 7919) % 500 end`,
      });
      const leases: string[] = [];
      const all = await claimers(q, 16);
      const first = all[0]!;
      // Before all of them are listed, some groups come before others.
      await until(async () => {
        const taken = await first.claim({ groupConcurrency: max });
        leases.push(...taken.map(({ job, lease }) => `${job.id}/${lease}`));
        await first.complete(taken);
        await database.sql`update conveyor_group_cursors set survey_due = now() where queue_name = ${q} and group_id = ''`;
        const listed = await database.sql`select 1 from conveyor_group_cursors where queue_name = ${q} and listed`;
        return listed.length >= 500;
      });
      await Promise.all(
        all.map(async (claimer, i) => {
          const limit = [1, 4, 24][i % 3]!;
          for (let empty = 0; empty < 3; ) {
            const taken = await claimer.claim({ groupConcurrency: max, limit });
            empty = taken.length === 0 ? empty + 1 : 0;
            leases.push(...taken.map(({ job, lease }) => `${job.id}/${lease}`));
            await randomPause(6);
            await claimer.complete(taken);
          }
        }),
      );
      expect(new Set(leases).size).toBe(leases.length);
      expect(leases).toHaveLength(count);
      expect(await mostActive(database.sql, q, 'group')).toBe(max);
      const [wait] = await database.sql<{ ratio: number }[]>`
      select max(mean) / min(mean) as ratio from (
        select avg(place)::float8 as mean from (
          select group_id, rank() over (order by processed_at) as place from conveyor_jobs where queue_name = ${q}) p
        group by group_id having count(*) = 11) x`;
      expect(wait!.ratio).toBeLessThan(2);
    },
    60_000,
  );

  test('few groups: claimers that find them locked try again, and nobody goes away empty', async () => {
    const q = newQueue();
    await insertRows(database.sql, q, 640, { group_id: `'g' || i % 2` });
    const all = await claimers(q, 16);
    const taken = await Promise.all(
      all.map(async (claimer) => {
        const ids: string[] = [];
        for (let i = 0; i < 40; i++) ids.push(...(await claimer.ids(ROUND_ROBIN)));
        return ids;
      }),
    );
    expect(taken.map(({ length }) => length)).toEqual(Array(16).fill(40));
    expect(new Set(taken.flat()).size).toBe(640);
  });

  test('a claim that waited counts what was taken behind its snapshot', async () => {
    const q = newQueue();
    await jobs(q, 'a a a a');
    const [slow, fast] = (await claimers(q, 2)) as [Claimer, Claimer];
    await slow.ids({ groupConcurrency: 9, rateLimit: { max: 99, duration: 1_000 } }); // a1; the guards' rows exist
    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_rate_limits where queue_name = ${q} for update`;
    // Its snapshot shows one job active, and it waits for the queue's row.
    const asked = slow.ids({ groupConcurrency: 2, rateLimit: { max: 99, duration: 1_000 }, limit: 9 });
    await untilWaiting(database.sql);
    expect(await fast.ids({ groupConcurrency: 2 })).toEqual(['a2']);
    await held.commit();
    expect(await asked).toEqual([]);
  });

  test('a claim that waited does not serve a group again that was served behind its snapshot', async () => {
    const q = newQueue();
    await jobs(q, '- a a b b');
    const [slow, fast] = (await claimers(q, 2)) as [Claimer, Claimer];
    const claim = { ...ROUND_ROBIN, rateLimit: { max: 99, duration: 1_000 } };
    expect(await slow.ids(claim)).toEqual(['-1']);
    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_rate_limits where queue_name = ${q} for update`;
    const asked = slow.ids(claim);
    await untilWaiting(database.sql);
    expect(await fast.ids(ROUND_ROBIN)).toEqual(['a1']);
    await held.commit();
    expect(await asked).toEqual(['b1']);
  });

  test('a job that somebody holds is passed over, and so is its group when it has no other', async () => {
    const q = newQueue();
    await jobs(q, 'a b b');
    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id in ('a1', 'b1') for update`;
    const claimer = await one(q);
    expect(await claimer.ids(ROUND_ROBIN)).toEqual(['b2']);
    expect(await claimer.ids(ROUND_ROBIN)).toEqual([]);
    await held.commit();
    expect(await claimer.ids({ ...ROUND_ROBIN, limit: 9 })).toEqual(['a1', 'b1']);
  });
});

import { expect, test } from 'vitest';
import { type Claimer, mostActive, useClaimers } from '../support/claimers.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { randomPause } from '../support/pauses.js';
import { insertRows, newQueue } from '../support/rows.js';

const database = useDatabase();
const claimers = useClaimers(database);

async function filled(count: number, columns: Record<string, string> = {}): Promise<[Claimer, string]> {
  const q = newQueue();
  await insertRows(database.sql, q, count, columns);
  return [(await claimers(q, 1))[0]!, q];
}

test('at most so many active jobs, whoever took them', async () => {
  const [claimer] = await filled(9);
  const claim = { maxGlobalConcurrency: 3, limit: 9 };
  const [plain] = await claimer.claim();
  expect(await claimer.claim(claim)).toHaveLength(2);
  expect(await claimer.claim(claim)).toHaveLength(0);
  await claimer.complete([plain!]);
  expect(await claimer.claim(claim)).toHaveLength(1);
  expect(await claimer.claim(claim)).toHaveLength(0);
  expect(await claimer.claim({ maxGlobalConcurrency: 5, limit: 1 })).toHaveLength(1);
});

test.each(['plain', 'grouped'])(
  '16 claimers at a limit of 3, %s: never more, and never less for long',
  async (kind) => {
    const q = newQueue();
    const count = 400;
    await insertRows(database.sql, q, count, { group_id: `'g' || i % 2` });
    const all = await claimers(q, 16);
    const leases: string[] = [];
    await Promise.all(
      all.map(async (claimer, i) => {
        while (leases.length < count) {
          const taken = await claimer.claim({
            maxGlobalConcurrency: 3,
            limit: [1, 2, 9][i % 3]!,
            ...(kind === 'grouped' ? { groupConcurrency: 2 } : {}),
          });
          leases.push(...taken.map(({ job, lease }) => `${job.id}/${lease}`));
          await randomPause(8);
          await claimer.complete(taken);
        }
      }),
    );
    expect(new Set(leases).size).toBe(count);
    expect(leases).toHaveLength(count);
    expect(await mostActive(database.sql, q, 'queue')).toBe(3);
    if (kind === 'grouped') expect(await mostActive(database.sql, q, 'group')).toBe(2);
  },
  60_000,
);

test('a claim that waited counts what was taken behind its snapshot', async () => {
  const [claimer, q] = await filled(9);
  const claim = { maxGlobalConcurrency: 5, limit: 9 };
  await claimer.claim({ ...claim, limit: 1 });
  // What another claim does, stretched in time.
  const held = await openTransaction(database.sql);
  await held.sql`update conveyor_rate_limits set claimed = claimed + 2 where queue_name = ${q}`;
  await held.sql`update conveyor_jobs set state = 'active' where queue_name = ${q} and id in ('row-2', 'row-3')`;
  const asked = claimer.ids(claim);
  await untilWaiting(database.sql);
  await held.commit();
  expect(await asked).toEqual(['row-4', 'row-5']);
});

test('a claim that finds itself behind asks again: room that was there all the time is found', async () => {
  const [claimer, q] = await filled(9);
  const claim = { maxGlobalConcurrency: 2, limit: 1 };
  const first = await claimer.claim(claim);
  const held = await openTransaction(database.sql);
  await held.sql`update conveyor_rate_limits set claimed = claimed + 1 where queue_name = ${q}`;
  await held.sql`update conveyor_jobs set state = 'active' where queue_name = ${q} and id = 'row-2'`;
  await held.sql`update conveyor_jobs set state = 'completed' where queue_name = ${q} and id = ${first[0]!.job.id}`;
  const asked = claimer.ids(claim);
  await untilWaiting(database.sql);
  await held.commit();
  // By its snapshot and what came after, two were active; in fact one.
  expect(await asked).toEqual(['row-3']);
});

test('idle, it is one statement that writes and locks nothing', async () => {
  const [claimer, q] = await filled(3);
  const claim = { maxGlobalConcurrency: 2, limit: 9 };
  await claimer.claim(claim);
  const row = async () =>
    JSON.stringify(await database.sql`select xmin, xmax, ctid from conveyor_rate_limits where queue_name = ${q}`);
  const before = await row();
  claimer.statements = 0;
  expect(await claimer.claim(claim)).toEqual([]);
  expect(claimer.statements).toBe(1);
  expect(await row()).toBe(before);
});

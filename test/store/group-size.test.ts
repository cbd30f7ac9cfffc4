import { describe, expect, test } from 'vitest';
import { GroupFullError } from '../../src/model/errors.js';
import type { NewJobData } from '../../src/model/job.js';
import { encodeRecord } from '../../src/store/add/insert.js';
import { insertIntoGroup } from '../../src/store/add/insert-into-group.js';
import { type Claimer, useClaimers } from '../support/claimers.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { insertRow, insertRows, jobIn, newQueue } from '../support/rows.js';

const database = useDatabase();
const claimers = useClaimers(database);

function add(claimer: Claimer, queueName: string, id: string, max: number, fields: Partial<NewJobData> = {}) {
  const job = jobIn('waiting', { queueName, groupId: 'g', ...fields });
  const record = encodeRecord(queueName, id, job, { maxPayloadBytes: 1_000_000 });
  return insertIntoGroup(claimer.executor, record, 'g', max);
}

async function one(queueName: string): Promise<Claimer> {
  return (await claimers(queueName, 1))[0]!;
}

const size = async (queueName: string): Promise<number> =>
  (await database.sql`select 1 from conveyor_jobs where queue_name = ${queueName}`).length;

test('waiting and delayed jobs of the group count, and nothing else', async () => {
  const q = newQueue();
  const claimer = await one(q);
  for (const state of ['active', 'completed', 'failed', 'waiting-children']) {
    await insertRows(database.sql, q, 1, { id: `'${state}'`, state: `'${state}'`, group_id: `'g'` });
  }
  await insertRows(database.sql, q, 5, { id: `'other' || i`, group_id: `'other'` });
  await insertRows(database.sql, q, 5);
  const later = new Date(Date.now() + 3_600_000);
  expect(await add(claimer, q, 'a', 3)).toMatchObject({
    id: 'a',
    created: true,
    createdAt: expect.any(Date),
    delayUntil: null,
  });
  expect(await add(claimer, q, 'b', 3, { state: 'delayed', delayUntil: later })).toEqual({
    id: 'b',
    created: true,
    createdAt: expect.any(Date),
    delayUntil: later,
  });
  await add(claimer, q, 'c', 3);
  const before = await size(q);
  await expect(add(claimer, q, 'd', 3)).rejects.toThrow(GroupFullError);
  await expect(add(claimer, q, 'd', 3)).rejects.toMatchObject({ groupId: 'g', code: 'GROUP_FULL' });
  expect(await size(q)).toBe(before);
  await add(claimer, q, 'd', 4);
});

test('a job that is claimed makes room', async () => {
  const q = newQueue();
  const claimer = await one(q);
  await add(claimer, q, 'a', 1);
  await expect(add(claimer, q, 'b', 1)).rejects.toThrow(GroupFullError);
  expect(await claimer.ids({ groupConcurrency: 1 })).toEqual(['a']);
  await add(claimer, q, 'b', 1);
});

describe('what is there already is not counted and not refused', () => {
  test('by id', async () => {
    const q = newQueue();
    const claimer = await one(q);
    await add(claimer, q, 'a', 1);
    expect(await add(claimer, q, 'a', 1)).toEqual({ id: 'a', created: false, createdAt: null, delayUntil: null });
    expect(await size(q)).toBe(1);
  });

  test('by deduplication key, whichever group it is in; an expired one gives its key up', async () => {
    const q = newQueue();
    const claimer = await one(q);
    const key = { deduplicationKey: 'key' };
    await add(claimer, q, 'a', 9, { ...key, groupId: 'g', opts: { deduplication: { ttl: 60_000 } } });
    expect(await add(claimer, q, 'b', 1, key)).toMatchObject({ id: 'a', created: false });
    await database.sql`update conveyor_jobs set created_at = now() - interval '1 hour' where queue_name = ${q}`;
    await expect(add(claimer, q, 'b', 1, key)).rejects.toThrow(GroupFullError);
    expect(await database.sql`select deduplication_key as key from conveyor_jobs where queue_name = ${q}`).toEqual([
      { key: 'key' },
    ]);
    expect(await add(claimer, q, 'b', 2, key)).toMatchObject({ id: 'b', created: true });
    expect(
      await database.sql`select id from conveyor_jobs where queue_name = ${q} and deduplication_key = 'key'`,
    ).toEqual([{ id: 'b' }]);
  });

  test('16 at once with one key are one job', async () => {
    const q = newQueue();
    const all = await claimers(q, 16);
    const saved = await Promise.all(all.map((each, i) => add(each, q, `j${i}`, 1, { deduplicationKey: 'same' })));
    expect(saved.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(saved.map(({ id }) => id)).size).toBe(1);
    expect(await size(q)).toBe(1);
  });
});

describe('against each other', () => {
  test.each([1, 10])('16 that add 20 each to a group of %i, while it is emptied: never more', async (max) => {
    const q = newQueue();
    const all = await claimers(q, 16);
    let created = 0;
    let refused = 0;
    let open = 15;
    let most = 0;
    const taken: string[] = [];
    await Promise.all(
      all.map(async (each, i) => {
        if (i === 0) {
          while (open > 0) {
            const [row] = await database.sql`
              select count(*)::int as n from conveyor_jobs where queue_name = ${q} and state = 'waiting'`;
            most = Math.max(most, row!['n']);
            taken.push(...(await each.ids({ limit: 1 })));
          }
          return;
        }
        for (let n = 0; n < 20; n++) {
          await add(each, q, `j${i}-${n}`, max).then(
            () => created++,
            (error) => {
              expect(error).toBeInstanceOf(GroupFullError);
              refused++;
            },
          );
        }
        open--;
      }),
    );
    expect(created + refused).toBe(300);
    expect(most).toBeLessThanOrEqual(max);
    expect(created - taken.length).toBeLessThanOrEqual(max);
    expect(await size(q)).toBe(created);
  });

  test('16 that fill it at once: as many as it holds, and no fewer', async () => {
    const q = newQueue();
    const all = await claimers(q, 16);
    const results = await Promise.allSettled(
      all.flatMap((each, i) => [0, 1, 2].map((n) => add(each, q, `j${i}-${n}`, 25))),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(25);
    expect(await size(q)).toBe(25);
  });

  test('an add that waited counts what was added behind its snapshot', async () => {
    const q = newQueue();
    const claimer = await one(q);
    await add(claimer, q, 'a', 2);
    // What another add does, stretched in time.
    const held = await openTransaction(database.sql);
    await held.sql`update conveyor_group_cursors set added = added + 1 where queue_name = ${q} and group_id = 'g'`;
    await insertRow(held.sql, { queue_name: q, id: 'b', group_id: 'g' });
    const added = add(claimer, q, 'c', 2);
    const refused = expect(added).rejects.toThrow(GroupFullError);
    await untilWaiting(database.sql);
    await held.commit();
    await refused;
    expect(await size(q)).toBe(2);
  });
});

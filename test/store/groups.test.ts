import { sql } from 'drizzle-orm';
import { beforeAll, describe, expect, test } from 'vitest';
import { ageFetches, type Claimer, useClaimers } from '../support/claimers.js';
import { useDatabase } from '../support/database.js';
import { insertRow, insertRows, newQueue } from '../support/rows.js';

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

/** So many claims, one after the other. */
async function inTurn(claimer: Claimer, count: number, claim: Parameters<Claimer['claim']>[0]): Promise<string> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(...(await claimer.ids(claim)));
  return ids.join(' ');
}

const ROUND_ROBIN = { groupConcurrency: 1_000 };

describe('the order of groups', () => {
  test('round-robin, whatever the order of the jobs; the ungrouped are one more group', async () => {
    const q = newQueue();
    await jobs(q, 'a a a b b - - c');
    const claimer = await one(q);
    // Never served: by group id, the ungrouped first.
    expect(await inTurn(claimer, 9, ROUND_ROBIN)).toBe('-1 a1 b1 c1 -2 a2 b2 a3');
  });

  test('a group that comes in was never served, and is next; one that comes back keeps its place', async () => {
    const q = newQueue();
    await jobs(q, 'b b b b a c c c');
    const claimer = await one(q);
    expect(await inTurn(claimer, 4, ROUND_ROBIN)).toBe('a1 b1 c1 b2');
    await jobs(q, 'z');
    expect(await inTurn(claimer, 2, ROUND_ROBIN)).toBe('z1 c2');
    // Served: a, b, z, c. So a comes first, and b before c.
    await insertRow(database.sql, { queue_name: q, id: 'a9', group_id: 'a' });
    expect(await inTurn(claimer, 3, ROUND_ROBIN)).toBe('a9 b3 c3');
  });

  test('also for claims within one millisecond', async () => {
    const q = newQueue();
    const groups = Array.from({ length: 20 }, (_, i) => `g${String(i).padStart(2, '0')}`);
    await jobs(q, [...groups, ...groups, ...groups].join(' '));
    const claimer = await one(q);
    const batches = [
      await claimer.groups({ ...ROUND_ROBIN, limit: 20 }),
      await claimer.groups({ ...ROUND_ROBIN, limit: 20 }),
    ];
    expect(batches).toEqual([groups, groups]);
    expect(await inTurn(claimer, 20, ROUND_ROBIN)).toBe(groups.map((group) => `${group}3`).join(' '));
  });

  test('inside a group: priority, then insertion; lifo turns only the latter', async () => {
    const q = newQueue();
    await jobs(q, 'a a', { priority: '5' });
    await insertRows(database.sql, q, 3, { id: `'urgent' || i`, group_id: `'a'`, priority: '1' });
    const [claimer] = await claimers(q, 1);
    expect(await inTurn(claimer!, 2, ROUND_ROBIN)).toBe('urgent1 urgent2');
    await insertRows(database.sql, q, 2, { id: `'late' || i`, group_id: `'a'`, priority: '1' });
    const lifo = { ...ROUND_ROBIN, lifo: true };
    expect(await inTurn(claimer!, 6, lifo)).toBe('late2 late1 urgent3 a2 a1');
  });

  test('lifo among the ungrouped, and in batches over priorities', async () => {
    const q = newQueue();
    await jobs(q, '- - -');
    await insertRows(database.sql, q, 2, { id: `'urgent' || i`, priority: '-1' });
    const claimer = await one(q);
    expect(await claimer.ids({ ...ROUND_ROBIN, lifo: true, limit: 9 })).toEqual([
      'urgent2',
      'urgent1',
      '-3',
      '-2',
      '-1',
    ]);
  });

  test('a batch goes round in rounds, and is filled as long as any group has jobs', async () => {
    const q = newQueue();
    await jobs(q, 'a a a a a a b c c - -');
    const claimer = await one(q);
    expect(await claimer.ids({ ...ROUND_ROBIN, limit: 7 })).toEqual(['-1', 'a1', 'b1', 'c1', '-2', 'a2', 'c2']);
    expect(await claimer.ids({ ...ROUND_ROBIN, limit: 7 })).toEqual(['a3', 'a4', 'a5', 'a6']);
  });
});

describe('which jobs', () => {
  test('groupConcurrency holds per group, not for the ungrouped', async () => {
    const q = newQueue();
    await jobs(q, 'a a a b b - - -');
    const claimer = await one(q);
    const taken = await claimer.claim({ groupConcurrency: 2, limit: 99 });
    expect(taken.map(({ job }) => job.id).sort()).toEqual(['-1', '-2', '-3', 'a1', 'a2', 'b1', 'b2']);
    expect(await claimer.ids({ groupConcurrency: 2 })).toEqual([]);
    await claimer.complete(taken.filter(({ job }) => job.id === 'a1'));
    expect(await claimer.ids({ groupConcurrency: 2, limit: 9 })).toEqual(['a3']);
  });

  test('jobs that another kind of claim took count', async () => {
    const q = newQueue();
    await jobs(q, 'a a a b');
    const claimer = await one(q);
    expect(await claimer.ids({ limit: 2 })).toEqual(['a1', 'a2']);
    expect(await claimer.ids({ groupConcurrency: 2, limit: 9 })).toEqual(['b1']);
  });

  test('excludeGroups: any number of groups in one statement text', async () => {
    const q = newQueue();
    await jobs(q, 'a b c - a');
    const claimer = await one(q);
    expect(await claimer.ids({ excludeGroups: ['a'], limit: 2 })).toEqual(['-1', 'b1']);
    const texts = async () =>
      (
        await claimer.executor.run(
          {
            name: 'texts',
            params: [],
            repeatable: true,
            build: () => sql`select count(*)::text from pg_prepared_statements`,
          },
          {},
        )
      )[0]?.[0];
    const before = await texts();
    const many = Array.from({ length: 2_000 }, (_, i) => `other "${i}"`);
    expect(await claimer.ids({ excludeGroups: ['a', ...many], limit: 9 })).toEqual(['c1']);
    expect(await claimer.ids({ excludeGroups: ['b', 'c'], limit: 1 })).toEqual(['a1']);
    expect(await texts()).toBe(before);
    expect(await claimer.ids({ excludeGroups: [], limit: 1 })).toEqual(['a2']);
  });

  test('jobName, paused names, and a paused queue', async () => {
    const q = newQueue();
    await jobs(q, 'a b', { name: `'mail'` });
    await insertRows(database.sql, q, 2, { id: `'c' || i`, group_id: `'c'`, name: `'sms'` });
    await insertRows(database.sql, q, 1, { id: `'-' || i`, name: `'sms'` });
    const claimer = await one(q);
    expect(await claimer.ids({ ...ROUND_ROBIN, jobName: 'sms' })).toEqual(['-1']);
    await database.sql`insert into conveyor_paused_names values (${q}, 'mail')`;
    expect(await claimer.ids(ROUND_ROBIN)).toEqual(['c1']);
    expect(await claimer.ids({ ...ROUND_ROBIN, jobName: 'mail' })).toEqual([]);
    await database.sql`insert into conveyor_paused_names values (${q}, '__all__')`;
    expect(await claimer.ids({ ...ROUND_ROBIN, limit: 9 })).toEqual([]);
    await database.sql`delete from conveyor_paused_names where queue_name = ${q}`;
    expect(await claimer.ids({ ...ROUND_ROBIN, limit: 9 })).toEqual(['a1', 'b1', 'c2']);
  });

  test('groupLimiter: a sliding window per group', async () => {
    const q = newQueue();
    await jobs(q, 'a a a a b - - -');
    const claimer = await one(q);
    const claim = { groupLimiter: { max: 2, duration: 30_000 }, limit: 99 };
    const answer = await claimer.ask(claim);
    expect(answer.jobs.map(({ job }) => job.id).sort()).toEqual(['-1', '-2', '-3', 'a1', 'a2', 'b1']);
    const none = await claimer.ask(claim);
    expect(none.jobs).toEqual([]);
    expect(none.opensIn).toBeGreaterThan(0);
    expect(none.opensIn).toBeLessThanOrEqual(30_001);
    // Longer windows see what shorter ones have forgotten.
    await ageFetches(database.sql, q, none.opensIn!);
    expect(await claimer.ids({ groupLimiter: { max: 2, duration: 60_000 } })).toEqual([]);
    expect(await claimer.ids({ groupLimiter: { max: 3, duration: 60_000 }, limit: 9 })).toEqual(['a3']);
    expect(await claimer.ids(claim)).toEqual(['a4']);
  });

  test('every limit at once', async () => {
    const q = newQueue();
    await jobs(q, 'a a a b b c - -', { name: `'mail'` });
    await insertRows(database.sql, q, 1, { id: `'z' || i`, group_id: `'a'`, name: `'mail'` });
    await insertRows(database.sql, q, 3, { id: `'sms' || i`, group_id: `'0'`, name: `'sms'` });
    const claimer = await one(q);
    const claim = {
      lifo: true,
      jobName: 'mail',
      groupConcurrency: 2,
      excludeGroups: ['c'],
      groupLimiter: { max: 2, duration: 60_000 },
      rateLimit: { max: 6, duration: 60_000 },
      maxGlobalConcurrency: 5,
    };
    const first = await claimer.claim({ ...claim, limit: 3 });
    expect(first.map(({ job }) => job.id)).toEqual(['-2', 'z1', 'b2']);
    expect(await claimer.ids({ ...claim, limit: 9 })).toEqual(['-1', 'a3']); // 5 active
    await claimer.complete(first);
    expect(await claimer.ids({ ...claim, limit: 9 })).toEqual(['b1']); // 6 fetches
    expect(await claimer.ids({ ...claim, limit: 9 })).toEqual([]);
    expect(await claimer.ids({ ...claim, rateLimit: undefined, limit: 9 })).toEqual([]); // group a: 2 fetches
    expect(await claimer.ids({ ...claim, rateLimit: undefined, groupLimiter: undefined })).toEqual(['a2']);
  });

  test('an option that is no limit is refused before any SQL', async () => {
    const claimer = await one(newQueue());
    const wrong: [object, string][] = [
      [{ groupConcurrency: 0 }, 'groupConcurrency'],
      [{ groupConcurrency: 1.5 }, 'groupConcurrency'],
      [{ maxGlobalConcurrency: -1 }, 'maxGlobalConcurrency'],
      [{ rateLimit: { max: 0, duration: 1 } }, 'rateLimit.max'],
      [{ rateLimit: { max: 1, duration: Number.NaN } }, 'rateLimit.duration'],
      [{ groupLimiter: { max: 1, duration: 0 } }, 'groupLimiter.duration'],
      [{ excludeGroups: ['a\0'] }, 'excludeGroups[0]'],
    ];
    for (const [claim, name] of wrong) {
      const asked = claimer.ask(claim);
      await expect(asked, name).rejects.toThrow(RangeError);
      await expect(asked).rejects.toThrow(name);
    }
    await expect(claimer.ask({ excludeGroups: 'a' as never })).rejects.toThrow(TypeError);
    await expect(claimer.ask({ rateLimit: 5 as never })).rejects.toThrow(TypeError);
    expect(claimer.statements).toBe(0);
  });
});

describe('hundreds of groups', () => {
  const q = newQueue();
  let claimer: Claimer;
  const names = Array.from({ length: 300 }, (_, i) => `g${String(i).padStart(3, '0')}`);
  beforeAll(async () => {
    await insertRows(database.sql, q, 900, { id: `'j' || i`, group_id: `'g' || lpad((i % 300)::text, 3, '0')` });
    claimer = await one(q);
  });

  test('the order is the same', async () => {
    expect(await claimer.groups({ ...ROUND_ROBIN, limit: 400 })).toEqual([...names, ...names.slice(0, 100)]);
    const singles = [];
    for (let i = 0; i < 20; i++) singles.push(...(await claimer.groups(ROUND_ROBIN)));
    expect(singles).toEqual(names.slice(100, 120));
    expect(await claimer.groups({ ...ROUND_ROBIN, limit: 20, excludeGroups: ['g120', 'g121'] })).toEqual(
      names.slice(122, 142),
    );
  });

  test('groups that come in join within moments, and at once where nothing else is to be had', async () => {
    await jobs(q, 'new -');
    // The groups are listed anew in a moment; the test does not wait for it.
    const [due] =
      await database.sql`select survey_due < now() + interval '10 seconds' as soon from conveyor_group_cursors
      where queue_name = ${q} and group_id = ''`;
    expect(due).toEqual({ soon: true });
    await database.sql`update conveyor_group_cursors set survey_due = now() where queue_name = ${q} and group_id = ''`;
    const seen: string[] = [];
    while (!seen.includes('new') && seen.length < 280) {
      seen.push(...(await claimer.groups(ROUND_ROBIN)));
    }
    expect(seen).toContain('new');
    expect(seen).toContain('');
    const rest = await claimer.groups({ ...ROUND_ROBIN, limit: 1_000 });
    expect(rest.length + seen.length).toBe(900 - 440 + 2);
    await claimer.groups({ ...ROUND_ROBIN });
    await insertRows(database.sql, q, 200, { id: `'x' || i`, group_id: `'x' || 1000 + i` });
    expect(await claimer.groups({ ...ROUND_ROBIN, limit: 150 })).toHaveLength(150);
    await jobs(q, 'late');
    await jobs(q, '-', { id: `'late ungrouped'` });
    // Everything listed is full.
    expect((await claimer.groups({ groupConcurrency: 1, limit: 99 })).sort()).toEqual(
      ['', 'late', ...Array.from({ length: 50 }, (_, i) => `x${i + 1151}`)].sort(),
    );
  });
});

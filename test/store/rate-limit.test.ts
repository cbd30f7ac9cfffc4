import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ageFetches, type Claimer, useClaimers } from '../support/claimers.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { insertRows, newQueue } from '../support/rows.js';
import { until } from '../support/until.js';

const database = useDatabase();
const claimers = useClaimers(database);

async function filled(count: number): Promise<[Claimer, string]> {
  const q = newQueue();
  await insertRows(database.sql, q, count);
  return [(await claimers(q, 1))[0]!, q];
}

/** The row's own text: it changes with every write, and with every lock. */
async function guard(queueName: string): Promise<string> {
  const [row] =
    await database.sql`select xmin, xmax, ctid, t.* from conveyor_rate_limits t where queue_name = ${queueName}`;
  return JSON.stringify(row);
}

async function log(queueName: string): Promise<[number, number][]> {
  const [row] = await database.sql`select fetches from conveyor_rate_limits where queue_name = ${queueName}`;
  return row!['fetches'];
}

test('8 claimers, 50 per second: never more in any second, hardly fewer on average', async () => {
  const q = newQueue();
  await insertRows(database.sql, q, 2_000);
  const end = performance.now() + 20_000;
  const all = await claimers(q, 8);
  await Promise.all(
    all.map(async (claimer, i) => {
      while (performance.now() < end) {
        const { jobs, opensIn } = await claimer.ask({ rateLimit: { max: 50, duration: 1_000 }, limit: [1, 7][i % 2]! });
        // The rate in real time is what is tested; a worker waits like this, too.
        if (jobs.length === 0) await sleep(Math.min(20, opensIn ?? 20));
      }
    }),
  );
  const times = (
    await database.sql<{ ms: string }[]>`
      select extract(epoch from processed_at) * 1000 as ms from conveyor_jobs
      where queue_name = ${q} and processed_at is not null order by processed_at`
  ).map(({ ms }) => Number(ms));
  // Both ends of a second count: the 51st after each comes more than 1000 ms later.
  const gaps = times.slice(50).map((ms, i) => ms - times[i]!);
  expect(Math.min(...gaps)).toBeGreaterThan(1_000);
  expect((times.length - 50) / ((times.at(-1)! - times[0]!) / 1_000)).toBeGreaterThanOrEqual(40);
}, 60_000);

describe('the window', () => {
  test('counts jobs, not claims, and never lets a batch over it', async () => {
    const [claimer] = await filled(20);
    expect(await claimer.claim({ rateLimit: { max: 5, duration: 60_000 }, limit: 3 })).toHaveLength(3);
    expect(await claimer.claim({ rateLimit: { max: 5, duration: 60_000 }, limit: 9 })).toHaveLength(2);
    expect(await claimer.claim({ rateLimit: { max: 5, duration: 60_000 }, limit: 9 })).toHaveLength(0);
  });

  test('fetches without a limit neither count nor wait', async () => {
    const [claimer] = await filled(20);
    expect(await claimer.claim({ limit: 5 })).toHaveLength(5);
    expect(await claimer.claim({ rateLimit: { max: 2, duration: 60_000 }, limit: 5 })).toHaveLength(2);
    expect(await claimer.claim({ limit: 5 })).toHaveLength(5);
    expect(await claimer.claim({ rateLimit: { max: 3, duration: 60_000 }, limit: 5 })).toHaveLength(1);
  });

  test('one caller’s window never erases another’s', async () => {
    const [claimer, q] = await filled(40);
    const short = { rateLimit: { max: 4, duration: 60_000 }, limit: 9 };
    const long = { rateLimit: { max: 10, duration: 3_000_000 }, limit: 9 };
    const aShortWindowLater = () => ageFetches(database.sql, q, 60_001);
    expect(await claimer.claim({ ...long, limit: 1 })).toHaveLength(1);
    expect(await claimer.claim(short)).toHaveLength(3);
    await aShortWindowLater();
    expect(await claimer.claim(short)).toHaveLength(4);
    await aShortWindowLater();
    expect(await claimer.claim(long)).toHaveLength(2);
    expect(await claimer.claim(long)).toHaveLength(0);
    expect(await claimer.claim(short)).toHaveLength(2);
    await aShortWindowLater();
    expect(await claimer.claim(short)).toHaveLength(4);
    expect(await claimer.claim(long)).toHaveLength(0);
  });

  test('says when it lets something through again', async () => {
    const [claimer, q] = await filled(4);
    const claim = { rateLimit: { max: 1, duration: 60_000 } };
    expect(await claimer.ask(claim)).toMatchObject({ jobs: [{}], opensIn: expect.any(Number) });
    const { opensIn } = await claimer.ask(claim);
    expect(opensIn).toBeGreaterThan(0);
    expect(opensIn).toBeLessThanOrEqual(60_001);
    await ageFetches(database.sql, q, opensIn!);
    expect(await claimer.claim(claim)).toHaveLength(1);
    expect(await claimer.ask({ rateLimit: { max: 99, duration: 60_000 } })).toMatchObject({
      jobs: [{}],
      opensIn: null,
    });
  });

  test('is told by the database’s clock, read when the lock is held: that is the job’s time, too', async () => {
    const [claimer, q] = await filled(9);
    await claimer.claim({ rateLimit: { max: 9, duration: 60_000 } });
    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_rate_limits where queue_name = ${q} for update`;
    const asked = claimer.claim({ rateLimit: { max: 9, duration: 60_000 }, lockDuration: 5_000 });
    await untilWaiting(database.sql);
    // Well after the claim began, by the clock of the database.
    await until(
      async () =>
        (
          await database.sql`select 1 from pg_stat_activity where datname = current_database()
            and wait_event_type = 'Lock' and clock_timestamp() > query_start + interval '20 milliseconds'`
        ).length > 0,
    );
    const [row] = await held.sql<{ ms: number }[]>`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`;
    await held.commit();
    const [{ job }] = (await asked) as [Awaited<typeof asked>[0]];
    expect(job.processedAt!.getTime()).toBeGreaterThanOrEqual(Math.floor(row!.ms));
    expect(job.lockUntil!.getTime() - job.processedAt!.getTime()).toBe(5_000);
    expect((await log(q)).at(-1)).toEqual([job.processedAt!.getTime(), 1]);
  });

  test('a claim that waited counts what was fetched behind its snapshot', async () => {
    const [claimer, q] = await filled(9);
    const claim = { rateLimit: { max: 5, duration: 60_000 }, limit: 9 };
    await claimer.claim({ ...claim, limit: 1 });
    const held = await openTransaction(database.sql);
    await held.sql`update conveyor_rate_limits set fetches =
      jsonb_build_array(jsonb_build_array(floor(extract(epoch from clock_timestamp()) * 1000)::bigint, 3)) where queue_name = ${q}`;
    const asked = claimer.claim(claim);
    await untilWaiting(database.sql);
    await held.commit();
    expect(await asked).toHaveLength(2);
  });
});

describe('what it costs', () => {
  test('an idle claim is one statement that writes and locks nothing', async () => {
    const [claimer, q] = await filled(2);
    const claim = { rateLimit: { max: 1, duration: 60_000 } };
    await claimer.claim(claim);
    const before = await guard(q);
    claimer.statements = 0;
    expect(await claimer.claim(claim)).toEqual([]);
    expect(await claimer.claim({ rateLimit: { max: 9, duration: 60_000 }, jobName: 'no such job' })).toEqual([]);
    expect(claimer.statements).toBe(2);
    await claimer.claim({ limit: 9 });
    expect(await claimer.claim({ rateLimit: { max: 9, duration: 60_000 } })).toEqual([]);
    expect(await guard(q)).toBe(before);
  });

  test('the log is bounded: entries of a long window are merged, and none is forgotten early', async () => {
    const [claimer, q] = await filled(3);
    const hour = { rateLimit: { max: 100_000, duration: 3_600_000 } };
    await claimer.claim(hour);
    // 20,000 fetches, one every 175 ms.
    await database.sql`update conveyor_rate_limits set fetches = (select jsonb_agg(jsonb_build_array(
      floor(extract(epoch from clock_timestamp()) * 1000)::bigint - i * 175, 1) order by i desc) from generate_series(1, 20000) i)
      where queue_name = ${q}`;
    const [last] = (await log(q)).at(-1)!;
    await claimer.claim(hour);
    const entries = await log(q);
    expect(entries.length).toBeLessThan(1_200);
    expect(entries.reduce((sum, [, count]) => sum + count, 0)).toBe(20_001);
    const newest = entries.at(-1)![0];
    // By any window, the merged log counts no less than the true one, and little more.
    for (const ms of [1_000, 60_000, 1_000_000, 3_000_000]) {
      const counted = entries.filter(([at]) => newest - at <= ms).reduce((sum, [, count]) => sum + count, 0);
      const before = Math.max(0, Math.floor((ms - (newest - last)) / 175) + 1);
      expect(counted).toBeGreaterThanOrEqual(before + 1);
      expect(counted).toBeLessThanOrEqual(Math.ceil(before * 1.02) + 2);
    }
  });

  test('what is older than any window asked for is kept roughly, for an hour', async () => {
    const [claimer, q] = await filled(9);
    const claim = { rateLimit: { max: 9, duration: 50 } };
    await claimer.claim(claim);
    await database.sql`update conveyor_rate_limits set fetches = (select jsonb_agg(jsonb_build_array(
      floor(extract(epoch from clock_timestamp()) * 1000)::bigint - i * 1000, 1) order by i desc) from generate_series(1, 7200) i)
      where queue_name = ${q}`;
    await claimer.claim({ ...claim, limit: 2 });
    const entries = await log(q);
    expect(entries.length).toBeLessThan(100);
    expect(entries.at(-1)).toEqual([expect.any(Number), 2]);
    const kept = entries.reduce((sum, [, count]) => sum + count, 0);
    expect(kept).toBeGreaterThan(3_590);
    expect(kept).toBeLessThan(3_610);
    // A caller with a window that nobody had before.
    expect(await claimer.claim({ rateLimit: { max: 1_800, duration: 1_800_000 } })).toHaveLength(0);
    expect(await claimer.claim({ rateLimit: { max: 2_200, duration: 1_800_000 } })).toHaveLength(1);
  });
});

describe('what may befall it', () => {
  test('a clock that was set back: fetches of the future count while they can share a window', async () => {
    const [claimer, q] = await filled(9);
    const claim = { rateLimit: { max: 2, duration: 1_000 }, limit: 9 };
    await claimer.claim({ ...claim, limit: 1 });
    const ahead = async (ms: number) => {
      await database.sql`update conveyor_rate_limits set fetches = jsonb_build_array(jsonb_build_array(
        floor(extract(epoch from clock_timestamp()) * 1000)::bigint + ${ms}::int, 1)) where queue_name = ${q}`;
    };
    await ahead(900);
    expect(await claimer.claim(claim)).toHaveLength(1);
    await ahead(3_600_000);
    expect(await claimer.claim(claim)).toHaveLength(2);
  });

  test('a log changed by hand to something else', async () => {
    const [claimer, q] = await filled(9);
    const claim = { rateLimit: { max: 2, duration: 60_000 }, limit: 9 };
    await claimer.claim({ ...claim, limit: 1 });
    await database.sql`update conveyor_rate_limits set fetches = '{"no": "list"}' where queue_name = ${q}`;
    expect(await claimer.claim(claim)).toHaveLength(2);
    expect(await claimer.claim(claim)).toHaveLength(0);
  });

  test('the first claims of a queue, all at once', async () => {
    const q = newQueue();
    await insertRows(database.sql, q, 50);
    const all = await claimers(q, 8);
    const taken = await Promise.all(
      all.map((each) => each.claim({ rateLimit: { max: 20, duration: 60_000 }, limit: 3 })),
    );
    expect(taken.flat()).toHaveLength(20);
  });

  test('priority, lifo and jobName hold under it', async () => {
    const q = newQueue();
    await insertRows(database.sql, q, 3, { id: `'low' || i`, priority: '9' });
    await insertRows(database.sql, q, 3, { id: `'high' || i`, name: `case when i = 2 then 'other' else 'job' end` });
    const [claimer] = await claimers(q, 1);
    const claim = { rateLimit: { max: 9, duration: 60_000 } };
    expect(await claimer!.ids({ ...claim, jobName: 'other' })).toEqual(['high2']);
    expect(await claimer!.ids({ ...claim, lifo: true, jobName: 'job' })).toEqual(['high3']);
    expect(await claimer!.ids({ ...claim, lifo: true, limit: 2 })).toEqual(['high1', 'low3']);
    expect(await claimer!.ids({ ...claim, limit: 2 })).toEqual(['low1', 'low2']);
  });
});

import { beforeAll, describe, expect, test } from 'vitest';
import { MetricsDisabledError } from '../../../../src/model/errors.js';
import type { MetricsBucket } from '../../../../src/model/store-interface.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction } from '../../../support/held.js';
import { jobIn, newQueue } from '../../../support/rows.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const floor = (time: number, unit: number) => new Date(Math.floor(time / unit) * unit);
const EVER = { from: new Date(0), to: new Date(Date.UTC(9000, 0, 1)) };

/** spec/store.md, Metrics. */
export function describeMetrics(makeFactory: MakeFactory): void {
  describe('metrics', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open({ metrics: { enabled: true } });
    });
    const minutes = (q: string, range = EVER) => store.getMetrics(q, { granularity: 'minute', ...range });
    const hours = (q: string, range = EVER) => store.getMetrics(q, { granularity: 'hour', ...range });
    const brief = (buckets: MetricsBucket[]) =>
      buckets.map((b) => [
        b.jobName,
        b.completedCount,
        b.failedCount,
        b.totalProcessMs,
        b.minProcessMs,
        b.maxProcessMs,
      ]);

    /** A job that ran for `ms` and ended at `end`. */
    async function run(q: string, name: string, state: 'completed' | 'failed', ms: number, end = Date.now()) {
      const id = await store.saveJob(q, jobIn('active', { name, processedAt: new Date(end - ms) }));
      const field = state === 'completed' ? 'completedAt' : 'failedAt';
      await store.updateJob(q, id, { state, [field]: new Date(end) });
    }

    test('not enabled: an error that says so', async () => {
      const without = await factory.open();
      await expect(without.getMetrics('q', { granularity: 'minute', ...EVER })).rejects.toThrow(MetricsDisabledError);
      await expect(without.aggregateMetrics()).rejects.toThrow(MetricsDisabledError);
      const q = newQueue();
      await without.saveJob(q, jobIn('active', { id: 'a' }));
      await without.updateJob(q, 'a', { state: 'completed', completedAt: new Date() });
      expect(await minutes(q)).toEqual([]);
    });

    test('a minute bucket for the name and one for __all__', async () => {
      const q = newQueue();
      const end = Date.UTC(2024, 4, 5, 10, 20, 30, 400);
      await run(q, 'a', 'completed', 100, end);
      await run(q, 'a', 'failed', 300, end + 1_000);
      await run(q, 'b', 'completed', 50, end);
      const periodStart = floor(end, MINUTE);
      const bucket = { queueName: q, granularity: 'minute', periodStart };
      expect(await minutes(q)).toEqual([
        {
          ...bucket,
          jobName: '__all__',
          completedCount: 2,
          failedCount: 1,
          totalProcessMs: 450,
          minProcessMs: 50,
          maxProcessMs: 300,
        },
        {
          ...bucket,
          jobName: 'a',
          completedCount: 1,
          failedCount: 1,
          totalProcessMs: 400,
          minProcessMs: 100,
          maxProcessMs: 300,
        },
        {
          ...bucket,
          jobName: 'b',
          completedCount: 1,
          failedCount: 0,
          totalProcessMs: 50,
          minProcessMs: 50,
          maxProcessMs: 50,
        },
      ]);
      expect(await hours(q)).toEqual([]);
    });

    test('a job named __all__ counts once', async () => {
      const q = newQueue();
      await run(q, '__all__', 'completed', 10);
      expect(brief(await minutes(q))).toEqual([['__all__', 1, 0, 10, 10, 10]]);
    });

    test('without a start or an end there is nothing to count', async () => {
      const q = newQueue();
      await store.saveJob(q, jobIn('active', { id: 'a', processedAt: null }));
      await store.updateJob(q, 'a', { state: 'completed', completedAt: new Date() });
      expect(await minutes(q)).toEqual([]);
    });

    test('64-bit milliseconds', async () => {
      const q = newQueue();
      const long = 100 * 365 * 24 * HOUR;
      for (let i = 0; i < 2; i++) await run(q, 'century', 'completed', long, Date.UTC(2080, 0, 1));
      expect(brief(await minutes(q))).toContainEqual(['century', 2, 0, 2 * long, long, long]);
    });

    test('from and to are inclusive; by time, then name', async () => {
      const q = newQueue();
      const start = Date.UTC(2024, 0, 1, 12, 0);
      for (const n of [3, 1, 2, 4]) await run(q, n === 2 ? 'z' : 'a', 'completed', n, start + n * MINUTE + 5);
      const at = (n: number) => new Date(start + n * MINUTE);
      const found = await minutes(q, { from: at(2), to: at(3) });
      expect(found.map((b) => [b.periodStart, b.jobName])).toEqual([
        [at(2), '__all__'],
        [at(2), 'z'],
        [at(3), '__all__'],
        [at(3), 'a'],
      ]);
      expect(await minutes(q, { from: at(5), to: at(9) })).toEqual([]);
      expect(await minutes(newQueue())).toEqual([]);
    });

    test('nonsense is refused', async () => {
      const bad = { from: new Date(Number.NaN), to: new Date() };
      await expect(store.getMetrics('q', { granularity: 'minute', ...bad })).rejects.toThrow(/from/);
      await expect(store.getMetrics('q', { granularity: 'day' as never, ...EVER })).rejects.toThrow(RangeError);
    });

    test('many at once lose nothing', async () => {
      const q = newQueue();
      const second = await factory.open({ metrics: { enabled: true } });
      const stores = [store, second];
      await Promise.all(
        Array.from({ length: 60 }, async (_, i) => {
          const each = stores[i % 2] as ContractStore;
          const end = Date.UTC(2024, 0, 1);
          const id = await each.saveJob(q, jobIn('active', { processedAt: new Date(end - 10) }));
          await each.updateJob(q, id, { state: 'completed', completedAt: new Date(end) });
        }),
      );
      expect(brief(await minutes(q))).toEqual([
        ['__all__', 60, 0, 600, 10, 10],
        ['job', 60, 0, 600, 10, 10],
      ]);
    });

    describe('aggregateMetrics', () => {
      test('folds minutes into hours once, however often it runs; the minutes stay', async () => {
        const q = newQueue();
        const hour = floor(Date.now() - 2 * HOUR, HOUR).getTime();
        await run(q, 'a', 'completed', 10, hour + 1 * MINUTE);
        await run(q, 'a', 'failed', 30, hour + 59 * MINUTE);
        await run(q, 'a', 'completed', 20, hour + HOUR);
        const before = await minutes(q);
        for (let i = 0; i < 3; i++) await store.aggregateMetrics();
        expect((await hours(q)).map((b) => [b.periodStart.getTime(), ...(brief([b])[0] as unknown[])])).toEqual([
          [hour, '__all__', 1, 1, 40, 10, 30],
          [hour, 'a', 1, 1, 40, 10, 30],
          [hour + HOUR, '__all__', 1, 0, 20, 20, 20],
          [hour + HOUR, 'a', 1, 0, 20, 20, 20],
        ]);
        expect(await minutes(q)).toEqual(before);
      });

      test('what comes later is added: the hour at hand is up to date as of the last call', async () => {
        const q = newQueue();
        const end = Date.now();
        await run(q, 'a', 'completed', 10, end);
        await store.aggregateMetrics();
        await run(q, 'a', 'failed', 2, end);
        await store.aggregateMetrics();
        await store.aggregateMetrics();
        const expected = [
          ['__all__', 1, 1, 12, 2, 10],
          ['a', 1, 1, 12, 2, 10],
        ];
        expect(brief(await hours(q))).toEqual(expected);
        expect(brief(await minutes(q))).toEqual(expected);
      });

      test('once, also when many call it at once while jobs end', async () => {
        const q = newQueue();
        const second = await factory.open({ metrics: { enabled: true } });
        const end = floor(Date.now() - HOUR, HOUR).getTime();
        const work = Array.from({ length: 40 }, (_, i) => run(q, `n${i % 4}`, 'completed', 5, end + (i % 7) * MINUTE));
        const folding = Array.from({ length: 12 }, (_, i) => (i % 2 ? second : store).aggregateMetrics());
        await Promise.all([...work, ...folding]);
        await Promise.all([store.aggregateMetrics(), second.aggregateMetrics()]);
        expect(brief(await hours(q))[0]).toEqual(['__all__', 40, 0, 200, 5, 5]);
        const counted = (await minutes(q)).filter((b) => b.jobName === '__all__').map((b) => b.completedCount);
        expect(counted.reduce((a, b) => a + b)).toBe(40);
      });

      test('drops what is past retention', async () => {
        const keeper = await factory.open({ metrics: { enabled: true, retentionMinutes: 30, retentionHours: 3 } });
        const q = newQueue();
        const now = Date.now();
        for (const age of [0, 20 * MINUTE, 40 * MINUTE, 2 * HOUR, 30 * HOUR])
          await run(q, 'a', 'completed', 1, now - age);
        await keeper.aggregateMetrics();
        const ages = (await minutes(q)).filter((b) => b.jobName === 'a').map((b) => now - b.periodStart.getTime());
        expect(ages).toHaveLength(2);
        expect(Math.max(...ages)).toBeLessThan(31 * MINUTE);
        const folded = (await hours(q)).filter((b) => b.jobName === 'a');
        expect(folded.reduce((sum, b) => sum + b.completedCount, 0)).toBe(4);
        expect(Math.min(...folded.map((b) => b.periodStart.getTime()))).toBeGreaterThan(now - 3 * HOUR);
      });

      test('a minute past retention is in its hour before it goes', async () => {
        const keeper = await factory.open({ metrics: { enabled: true, retentionMinutes: 1, retentionHours: 100 } });
        const q = newQueue();
        await run(q, 'a', 'completed', 1, Date.now() - 5 * HOUR);
        await keeper.aggregateMetrics();
        expect(await minutes(q)).toEqual([]);
        expect(brief(await hours(q))).toEqual([
          ['__all__', 1, 0, 1, 1, 1],
          ['a', 1, 0, 1, 1, 1],
        ]);
      });

      test.runIf(factory.database)('a bucket that somebody holds is left for the next call', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await run(q, 'a', 'completed', 10);
        const held = await openTransaction(sql);
        await held.sql`update conveyor_metrics set completed_count = completed_count + 1 where queue_name = ${q}`;
        await store.aggregateMetrics();
        expect(await hours(q)).toEqual([]);
        await held.commit();
        await store.aggregateMetrics();
        expect((await hours(q)).map((b) => b.completedCount)).toEqual([2, 2]);
      });
    });
  });
}

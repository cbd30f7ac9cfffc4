import { beforeAll, describe, expect, test } from 'vitest';
import type { JobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting, watchStatements } from '../../../support/held.js';
import { insertRows, jobIn, newQueue } from '../../../support/rows.js';

const HOUR = 3_600_000;
const ids = (jobs: JobData[]) => jobs.map(({ id }) => id).sort();

/** spec/store.md, Delays: `getNextDelayedTimestamp`, `promoteDelayedJobs`, `promoteJobs`. */
export function describeDelays(makeFactory: MakeFactory): void {
  describe('delays', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    describe('getNextDelayedTimestamp', () => {
      test('is the earliest one, exactly, of this queue and of delayed jobs', async () => {
        const [q, other] = [newQueue(), newQueue()];
        const base = 1_900_000_000_000;
        await store.saveBulk(q, [
          jobIn('delayed', { delayUntil: new Date(base + 500) }),
          jobIn('delayed', { id: 'first', delayUntil: new Date(base + 123) }),
          jobIn('waiting', { delayUntil: new Date(base) }),
          jobIn('delayed', { delayUntil: null }),
        ]);
        await store.saveJob(other, jobIn('delayed', { delayUntil: new Date(base - 1) }));
        expect(await store.getNextDelayedTimestamp(q)).toBe(base + 123);
        expect(await store.getNextDelayedTimestamp(newQueue())).toBeNull();
      });

      test('a job is due at that timestamp, and not before it', async () => {
        const q = newQueue();
        for (const ms of [1_900_000_000_001, 1_899_999_999_999, 1_700_000_000_123, 4_102_444_800_007]) {
          await store.saveJob(q, jobIn('delayed', { delayUntil: new Date(ms) }));
          const next = await store.getNextDelayedTimestamp(q);
          expect(next).toBe(ms);
          expect(await store.promoteDelayedJobs(q, ms - 1)).toBe(0);
          expect(await store.promoteDelayedJobs(q, ms)).toBe(1);
        }
      });

      test.runIf(factory.database)('a fraction of a millisecond rounds up to when it is due', async () => {
        const q = newQueue();
        await insertRows(factory.database!.sql, q, 1, {
          state: `'delayed'`,
          delay_until: `to_timestamp(1900000000.123001)`,
        });
        const next = await store.getNextDelayedTimestamp(q);
        expect(next).toBe(1_900_000_000_124);
        expect(await store.promoteDelayedJobs(q, next as number)).toBe(1);
      });
    });

    describe('promoteDelayedJobs', () => {
      test('what is due by the given time waits and can be fetched; the rest stays', async () => {
        const [q, other] = [newQueue(), newQueue()];
        const now = Date.now();
        await store.saveBulk(q, [
          jobIn('delayed', { id: 'due', delayUntil: new Date(now - 1_000) }),
          jobIn('delayed', { id: 'just due', delayUntil: new Date(now) }),
          jobIn('delayed', { id: 'later', delayUntil: new Date(now + 1) }),
          jobIn('completed', { delayUntil: new Date(now - 1_000) }),
        ]);
        await store.saveJob(other, jobIn('delayed', { delayUntil: new Date(now - 1_000) }));
        expect(await store.promoteDelayedJobs(q, now)).toBe(2);
        expect(ids(await store.listJobs(q, 'waiting'))).toEqual(['due', 'just due']);
        expect((await store.listJobs(q, 'waiting')).map((job) => job.delayUntil)).toEqual([null, null]);
        expect(ids(await store.listJobs(q, 'delayed'))).toEqual(['later']);
        expect(await store.countJobs(other, 'delayed')).toBe(1);
        expect(await store.fetchNextJob(q, 'worker', 1_000)).toMatchObject({ id: 'due', delayUntil: null });
        expect(await store.promoteDelayedJobs(q, now)).toBe(0);
      });

      test("a timestamp ahead of the server's clock counts, and the jobs can be fetched now", async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('delayed', { id: 'far', delayUntil: new Date(Date.now() + 24 * HOUR) }));
        expect(await store.promoteDelayedJobs(q, Date.now() + 48 * HOUR)).toBe(1);
        expect(await store.fetchNextJob(q, 'worker', 1_000)).toMatchObject({ id: 'far' });
      });

      test('any number is a time, NaN is none', async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('delayed'));
        expect(await store.promoteDelayedJobs(q, -5)).toBe(0);
        expect(await store.promoteDelayedJobs(q, Number.MAX_SAFE_INTEGER)).toBe(1);
        await expect(store.promoteDelayedJobs(q, Number.NaN)).rejects.toThrow(RangeError);
        await expect(store.promoteDelayedJobs(q, '5' as never)).rejects.toThrow(TypeError);
      });

      test('jobs of one millisecond keep their order', async () => {
        const q = newQueue();
        const delayUntil = new Date(Date.now() - 1);
        const all = Array.from({ length: 20 }, (_, i) => `job-${String(i).padStart(2, '0')}`);
        await store.saveBulk(
          q,
          all.map((id) => jobIn('delayed', { id, delayUntil })),
        );
        await store.promoteDelayedJobs(q, Date.now());
        const order: string[] = [];
        for (let job = await store.fetchNextJob(q, 'w', 1_000); job; job = await store.fetchNextJob(q, 'w', 1_000)) {
          order.push(job.id);
        }
        expect(order).toEqual(all);
      });

      test('many promoters share the jobs: each is promoted once', async () => {
        const q = newQueue();
        const delayUntil = new Date(Date.now() - 1_000);
        await store.saveBulk(
          q,
          Array.from({ length: 3_000 }, () => jobIn('delayed', { delayUntil })),
        );
        const second = await factory.open();
        const now = Date.now();
        const counts = await Promise.all([store, second, store, second].map((each) => each.promoteDelayedJobs(q, now)));
        expect(counts.reduce((a, b) => a + b)).toBe(3_000);
        expect(await store.getJobCounts(q)).toMatchObject({ waiting: 3_000, delayed: 0 });
      });

      test.runIf(factory.database)('what somebody else holds is not waited for', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        const delayUntil = new Date(Date.now() - 1_000);
        await store.saveBulk(
          q,
          ['held', 'free'].map((id) => jobIn('delayed', { id, delayUntil })),
        );
        const held = await openTransaction(sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id = 'held' for update`;
        expect(await store.promoteDelayedJobs(q, Date.now())).toBe(1);
        await held.rollback();
        expect(await store.promoteDelayedJobs(q, Date.now())).toBe(1);
      });
    });

    describe('promoteJobs', () => {
      test('all delayed ones, whatever their time, and only them', async () => {
        const [q, other] = [newQueue(), newQueue()];
        await store.saveBulk(q, [
          jobIn('delayed', { id: 'far', delayUntil: new Date(Date.now() + 1_000 * HOUR) }),
          jobIn('delayed', { id: 'due', delayUntil: new Date(1) }),
          jobIn('delayed', { id: 'without', delayUntil: null }),
          jobIn('failed'),
          jobIn('waiting-children'),
        ]);
        await store.saveJob(other, jobIn('delayed'));
        expect(await store.promoteJobs(q)).toBe(3);
        const waiting = await store.listJobs(q, 'waiting');
        expect(ids(waiting)).toEqual(['due', 'far', 'without']);
        expect(waiting.every((job) => job.delayUntil === null)).toBe(true);
        expect(await store.getJobCounts(q)).toMatchObject({ delayed: 0, failed: 1, 'waiting-children': 1 });
        expect(await store.countJobs(other, 'delayed')).toBe(1);
        expect(await store.promoteJobs(q)).toBe(0);
      });

      test.runIf(factory.database)('jobs that are delayed meanwhile do not keep it busy', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await store.saveJob(q, jobIn('delayed', { id: 'held' }));
        const held = await openTransaction(sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} for update`;
        const promoted = store.promoteJobs(q);
        await untilWaiting(sql);
        await store.saveJob(q, jobIn('delayed', { id: 'new' }));
        await held.rollback();
        expect(await promoted).toBe(1);
        expect(ids(await store.listJobs(q, 'delayed'))).toEqual(['new']);
      });

      test.runIf(factory.database)('chunk by chunk; a held row is waited for', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 6_000, { state: `'delayed'`, delay_until: `now() + i * interval '1 hour'` });
        const statements = await watchStatements(sql);
        const held = await openTransaction(sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id = 'row-3000' for update`;
        const promoted = store.promoteJobs(q);
        await untilWaiting(sql);
        expect(await store.countJobs(q, 'delayed')).toBe(1);
        await held.rollback();
        expect(await promoted).toBe(6_000);
        expect(await statements.largest()).toBeLessThanOrEqual(5_000);
        await statements.end();
      });
    });
  });
}

import { beforeAll, describe, expect, test } from 'vitest';
import type { FetchOptions } from '../../../../src/model/store-interface.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction } from '../../../support/held.js';
import { jobIn, newQueue } from '../../../support/rows.js';

/** spec/store.md, Claiming: locks, and claims at the same time. */
export function describeLocks(makeFactory: MakeFactory): void {
  describe('claiming', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    const next = (q: string, options: FetchOptions = {}) => store.fetchNextJob(q, 'worker-1', 30_000, options);
    /** The ids of all that can be fetched, in their order. */
    async function all(q: string, options: FetchOptions = {}): Promise<string[]> {
      const ids: string[] = [];
      for (;;) {
        const job = await next(q, options);
        if (!job) return ids;
        ids.push(job.id);
      }
    }
    const finish = (q: string, id: string) => store.updateJob(q, id, { state: 'completed', completedAt: new Date() });

    describe('locks', () => {
      test('extendLock: from now on, and only for an active job', async () => {
        const q = newQueue();
        await store.saveBulk(q, [jobIn('waiting', { id: 'a' }), jobIn('waiting', { id: 'b' })]);
        await store.fetchNextJob(q, 'w', 1_000);
        const before = Date.now();
        expect(await store.extendLock(q, 'a', 60_000)).toBe(true);
        const { lockUntil } = (await store.getJob(q, 'a'))!;
        expect(Math.abs(lockUntil!.getTime() - before - 60_000)).toBeLessThan(5_000);
        expect(await store.extendLock(q, 'b', 60_000)).toBe(false);
        expect(await store.extendLock(q, 'nobody', 60_000)).toBe(false);
        await finish(q, 'a');
        expect(await store.extendLock(q, 'a', 60_000)).toBe(false);
      });

      test('releaseLock takes the lock away and leaves the state', async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { id: 'a' }));
        await next(q);
        await store.releaseLock(q, 'a');
        expect(await store.getJob(q, 'a')).toMatchObject({ state: 'active', lockUntil: null, lockedBy: null });
        expect(await next(q)).toBeNull();
        await store.releaseLock(q, 'nobody');
      });

      test('getStalledJobs: active with an expired lock; it changes nothing', async () => {
        const q = newQueue();
        const past = new Date(Date.now() - 60_000);
        await store.saveBulk(q, [
          jobIn('active', { id: 'stalled', lockUntil: past }),
          jobIn('active', { id: 'alive' }),
          jobIn('completed', { id: 'completed', lockUntil: past }),
          jobIn('waiting', { id: 'waiting', lockUntil: past }),
        ]);
        const before = await store.getJob(q, 'stalled');
        for (const threshold of [0, 3_600_000]) {
          expect((await store.getStalledJobs(q, threshold)).map(({ id }) => id)).toEqual(['stalled']);
        }
        expect(await store.getJob(q, 'stalled')).toEqual(before);
      });
    });

    describe('races', () => {
      test('one job and 16 stores: one gets it', async () => {
        const q = newQueue();
        const stores = await Promise.all(Array.from({ length: 16 }, () => factory.open()));
        for (const options of [{}, { lifo: true }, { jobName: 'job' }, { groupConcurrency: 1 }]) {
          await store.saveJob(q, jobIn('waiting', { id: 'one', groupId: 'g' }));
          const got = await Promise.all(stores.map((each, i) => each.fetchNextJob(q, `w${i}`, 30_000, options)));
          expect(got.filter(Boolean)).toHaveLength(1);
          const [winner] = got.flatMap((job, i) => (job ? [`w${i}`] : []));
          expect(await store.getJob(q, 'one')).toMatchObject({ lockedBy: winner });
          await store.removeJob(q, 'one');
        }
      });

      test.each([
        ['plain', {}],
        ['lifo', { lifo: true }],
        ['by group', { groupConcurrency: 1_000 }],
        ['rate-limited', { rateLimit: { max: 10_000, duration: 1_000 } }],
      ])('16 stores at once, %s: every job once, and nobody goes away while there are some', async (_kind, options) => {
        const q = newQueue();
        await store.saveBulk(
          q,
          Array.from({ length: 480 }, (_, i) => jobIn('waiting', { id: `j${i}`, groupId: `g${i % 30}` })),
        );
        const stores = await Promise.all(Array.from({ length: 16 }, () => factory.open()));
        const ids = await Promise.all(
          stores.map(async (each, i) => {
            const mine: string[] = [];
            for (let n = 0; n < 30; n++) {
              const job = await each.fetchNextJob(q, `w${i}`, 30_000, options);
              if (job) mine.push(job.id);
            }
            return mine;
          }),
        );
        expect(new Set(ids.flat()).size).toBe(480);
        expect(ids.flat()).toHaveLength(480);
      });

      test.runIf(factory.database)('a row that somebody holds is passed over without waiting', async () => {
        const q = newQueue();
        await store.saveBulk(q, [jobIn('waiting', { id: 'a' }), jobIn('waiting', { id: 'b' })]);
        const held = await openTransaction(factory.database!.sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id = 'a' for update`;
        expect(await all(q)).toEqual(['b']);
        await held.commit();
        expect(await all(q)).toEqual(['a']);
      });

      test.runIf(factory.database)('a job that is taken while the claim runs is not taken again', async () => {
        const q = newQueue();
        await store.saveBulk(q, [jobIn('waiting', { id: 'a' }), jobIn('waiting', { id: 'b' })]);
        const held = await openTransaction(factory.database!.sql);
        await held.sql`update conveyor_jobs set state = 'active', lease = lease + 1 where queue_name = ${q} and id = 'a'`;
        expect(await all(q)).toEqual(['b']);
        await held.commit();
        expect(await all(q)).toEqual([]);
      });
    });
  });
}

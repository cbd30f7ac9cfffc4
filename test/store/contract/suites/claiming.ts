import { beforeAll, describe, expect, test } from 'vitest';
import type { FetchOptions } from '../../../../src/model/store-interface.js';
import { ageFetches } from '../../../support/claimers.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { jobIn, newQueue } from '../../../support/rows.js';
import { until } from '../../../support/until.js';

/** spec/store.md, Claiming. */
export function describeClaiming(makeFactory: MakeFactory): void {
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

    describe('fetchNextJob', () => {
      test('a waiting job becomes active under a lock', async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { id: 'a', data: { n: 1 }, opts: { attempts: 3 } }));
        const job = await store.fetchNextJob(q, 'worker-7', 5_000);
        expect(job).toMatchObject({ id: 'a', queueName: q, state: 'active', lockedBy: 'worker-7', data: { n: 1 } });
        expect(Math.abs(Date.now() - job!.processedAt!.getTime())).toBeLessThan(5_000);
        expect(job!.lockUntil!.getTime() - job!.processedAt!.getTime()).toBe(5_000);
        expect(await store.getJob(q, 'a')).toEqual(job);
      });

      test('null when there is nothing: no job, another queue’s, or one in another state', async () => {
        const [q, other] = [newQueue(), newQueue()];
        expect(await next(q)).toBeNull();
        await store.saveJob(other, jobIn('waiting'));
        for (const state of ['delayed', 'active', 'completed', 'failed', 'waiting-children'] as const) {
          await store.saveJob(q, jobIn(state));
        }
        expect(await next(q)).toBeNull();
      });

      test('in the order of insertion, strictly, also for jobs saved in one millisecond', async () => {
        const q = newQueue();
        const createdAt = new Date();
        const ids = Array.from({ length: 60 }, (_, i) => `j${i}`);
        await store.saveBulk(
          q,
          ids.slice(0, 40).map((id) => jobIn('waiting', { id, createdAt })),
        );
        for (const id of ids.slice(40)) await store.saveJob(q, jobIn('waiting', { id, createdAt }));
        expect(await all(q)).toEqual(ids);
      });

      test('priority before insertion, the lower first, zero and none alike', async () => {
        const q = newQueue();
        const prioritized: [string, number | undefined][] = [
          ['late', 9],
          ['none', undefined],
          ['zero', 0],
          ['first', -3],
          ['soon', 1],
          ['none too', undefined],
          ['late too', 9],
        ];
        await store.saveBulk(
          q,
          prioritized.map(([id, priority]) =>
            jobIn('waiting', { id, opts: priority === undefined ? {} : { priority } }),
          ),
        );
        expect(await all(q)).toEqual(['first', 'none', 'zero', 'none too', 'soon', 'late', 'late too']);
      });

      test('lifo turns only the order inside a priority', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('waiting', { id: 'low 1', opts: { priority: 5 } }),
          jobIn('waiting', { id: 'high 1', opts: { priority: 1 } }),
          jobIn('waiting', { id: 'low 2', opts: { priority: 5 } }),
          jobIn('waiting', { id: 'high 2', opts: { priority: 1 } }),
        ]);
        expect(await all(q, { lifo: true })).toEqual(['high 2', 'high 1', 'low 2', 'low 1']);
      });

      test('a job that is lifo itself goes in front of its priority', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('waiting', { id: 'a' }),
          jobIn('waiting', { id: 'b', opts: { lifo: true } }),
          jobIn('waiting', { id: 'c', opts: { lifo: true } }),
          jobIn('waiting', { id: 'urgent', opts: { priority: -1 } }),
        ]);
        expect(await all(q)).toEqual(['urgent', 'c', 'b', 'a']);
      });

      test('jobName filters, in either order', async () => {
        const q = newQueue();
        const named = (id: string, name: string) => jobIn('waiting', { id, name });
        await store.saveBulk(q, [named('a', 'mail'), named('b', 'sms'), named('c', 'mail'), named('d', 'sms')]);
        expect((await next(q, { jobName: 'sms', lifo: true }))?.id).toBe('d');
        expect(await all(q, { jobName: 'sms' })).toEqual(['b']);
        expect(await all(q, { jobName: 'MAIL' })).toEqual([]);
        expect(await all(q)).toEqual(['a', 'c']);
      });

      test('never a paused name; __all__ pauses everything', async () => {
        const q = newQueue();
        const named = (id: string, name: string) => jobIn('waiting', { id, name });
        await store.saveBulk(q, [named('a', 'mail'), named('b', 'sms'), named('c', 'push')]);
        await store.pauseJobName(q, 'mail');
        expect((await next(q))?.id).toBe('b');
        expect(await next(q, { jobName: 'mail' })).toBeNull();
        await store.pauseJobName(q, '__all__');
        for (const options of [{}, { lifo: true }, { jobName: 'push' }, { groupConcurrency: 1 }]) {
          expect(await next(q, options)).toBeNull();
        }
        await store.resumeJobName(q, '__all__');
        expect(await all(q)).toEqual(['c']);
        await store.resumeJobName(q, 'mail');
        expect(await all(q)).toEqual(['a']);
      });

      test('a lock of 1 ms is one of 1 ms', async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { id: 'a' }));
        const job = await store.fetchNextJob(q, 'w', 1);
        expect(job!.lockUntil!.getTime() - job!.processedAt!.getTime()).toBe(1);
        const stalled = await until(async () => {
          const jobs = await store.getStalledJobs(q, 60_000);
          return jobs.length > 0 && jobs;
        });
        expect(stalled.map(({ id }) => id)).toEqual(['a']);
      });

      test('a lock that is none is refused', async () => {
        for (const lock of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
          await expect(store.fetchNextJob(newQueue(), 'w', lock)).rejects.toThrow(RangeError);
        }
      });
    });

    describe('groups', () => {
      const grouped = (id: string, groupId: string | null) => jobIn('waiting', { id, groupId });

      test('round-robin with groupConcurrency; without, in the order of insertion', async () => {
        const q = newQueue();
        const jobs = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map((id) => grouped(id, id.slice(0, 1)));
        await store.saveBulk(q, [...jobs, grouped('none', null)]);
        expect((await next(q))?.id).toBe('a1');
        const order = await all(q, { groupConcurrency: 9 });
        expect(order.slice(0, 4).sort()).toEqual(['a2', 'b1', 'c1', 'none']);
        expect(order.slice(4, 6).sort()).toEqual(['a3', 'b2']);
      });

      test('least recently served first', async () => {
        const q = newQueue();
        await store.saveBulk(q, [grouped('b1', 'b'), grouped('b2', 'b')]);
        await next(q, { groupConcurrency: 9 });
        await store.saveBulk(q, [grouped('z1', 'z'), grouped('z2', 'z'), grouped('a1', 'a')]);
        expect(await all(q, { groupConcurrency: 9 })).toEqual(['a1', 'z1', 'b2', 'z2']);
      });

      test('at most groupConcurrency active in a group; the ungrouped are not limited', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          ...['a1', 'a2', 'a3', 'b1'].map((id) => grouped(id, id.slice(0, 1))),
          ...['n1', 'n2', 'n3'].map((id) => grouped(id, null)),
        ]);
        expect((await all(q, { groupConcurrency: 2 })).sort()).toEqual(['a1', 'a2', 'b1', 'n1', 'n2', 'n3']);
        await finish(q, 'a2');
        expect(await all(q, { groupConcurrency: 2 })).toEqual(['a3']);
      });

      test('excludeGroups leaves groups out, and is round-robin when not empty', async () => {
        const q = newQueue();
        await store.saveBulk(
          q,
          ['a1', 'a2', 'b1', 'b2', 'c1'].map((id) => grouped(id, id.slice(0, 1))),
        );
        expect(await all(q, { excludeGroups: ['c', 'nobody'] })).toEqual(['a1', 'b1', 'a2', 'b2']);
        expect(await all(q, { excludeGroups: [] })).toEqual(['c1']);
      });

      test('counts by group', async () => {
        const q = newQueue();
        await store.saveBulk(
          q,
          ['a1', 'a2', 'a3', 'b1'].map((id) => grouped(id, id.slice(0, 1))),
        );
        await store.saveJob(q, jobIn('delayed', { groupId: 'a' }));
        await all(q, { groupConcurrency: 2 });
        expect(await store.getActiveCount(q)).toBe(3);
        expect(await store.getGroupActiveCount(q, 'a')).toBe(2);
        expect(await store.getWaitingGroupCount(q, 'a')).toBe(1);
        expect(await store.getGroupActiveCount(q, 'nobody')).toBe(0);
        expect(await store.getWaitingGroupCount(q, 'b')).toBe(0);
        expect(await store.getActiveCount(newQueue())).toBe(0);
      });
    });

    test.runIf(factory.database)('rateLimit: so many in any window, whatever is fetched without one', async () => {
      const q = newQueue();
      await store.saveBulk(
        q,
        Array.from({ length: 12 }, () => jobIn('waiting')),
      );
      const limited = { rateLimit: { max: 3, duration: 30_000 } };
      expect(await all(q, limited)).toHaveLength(3);
      expect(await next(q)).not.toBeNull();
      expect(await next(q, limited)).toBeNull();
      await ageFetches(factory.database!.sql, q, 30_001);
      expect(await all(q, limited)).toHaveLength(3);
      expect(await next(q, { rateLimit: { max: 6, duration: 60_000 } })).toBeNull();
      expect(await next(q, { rateLimit: { max: 7, duration: 60_000 } })).not.toBeNull();
    });
  });
}

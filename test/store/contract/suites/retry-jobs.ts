import { beforeAll, describe, expect, test } from 'vitest';
import type { JobData, NewJobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting, watchStatements } from '../../../support/held.js';
import { insertRow, insertRows, jobIn, newQueue } from '../../../support/rows.js';

const ids = (jobs: JobData[]) => jobs.map(({ id }) => id);

/** spec/store.md: `retryJobs`. */
export function describeRetryJobs(makeFactory: MakeFactory): void {
  describe('retryJobs', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    test.each(['failed', 'completed'] as const)('%s jobs start over', async (state) => {
      const [q, other] = [newQueue(), newQueue()];
      const time = new Date();
      const used: Partial<NewJobData> = {
        attemptsMade: 3,
        progress: 55.5,
        returnvalue: { some: 'thing' },
        failedReason: 'why',
        failedAt: time,
        completedAt: time,
        processedAt: time,
        cancelledAt: time,
        lockUntil: time,
        lockedBy: 'worker',
        stacktrace: ['a', 'b'],
        discarded: true,
        logs: ['kept'],
        data: { kept: true },
        opts: { attempts: 3, priority: 4 },
        groupId: 'g',
      };
      await store.saveBulk(q, [
        jobIn(state, { id: 'used', ...used }),
        jobIn(state),
        jobIn(state === 'failed' ? 'completed' : 'failed', { id: 'other state' }),
        jobIn('active', { id: 'active' }),
      ]);
      await store.saveJob(other, jobIn(state, { id: 'other queue' }));
      expect(await store.retryJobs(q, state)).toBe(2);
      expect(await store.getJob(q, 'used')).toMatchObject({
        state: 'waiting',
        attemptsMade: 0,
        progress: 0,
        returnvalue: null,
        failedReason: null,
        failedAt: null,
        completedAt: null,
        processedAt: null,
        cancelledAt: null,
        lockUntil: null,
        lockedBy: null,
        stacktrace: [],
        discarded: false,
        logs: ['kept'],
        data: { kept: true },
        opts: { attempts: 3, priority: 4 },
        groupId: 'g',
      });
      expect((await store.getJob(q, 'other state'))?.state).not.toBe('waiting');
      expect((await store.getJob(other, 'other queue'))?.state).toBe(state);
      expect(await store.retryJobs(q, state)).toBe(0);
    });

    test('they take new places, in their old order, behind those that wait', async () => {
      const q = newQueue();
      const failedAt = (n: number) => new Date(Date.now() - n * 1_000);
      await store.saveBulk(q, [
        jobIn('failed', { id: 'f1', failedAt: failedAt(1) }),
        jobIn('failed', { id: 'f2', failedAt: failedAt(9) }),
        jobIn('failed', { id: 'f3', failedAt: failedAt(5) }),
        jobIn('waiting', { id: 'w' }),
        jobIn('failed', { id: 'urgent', opts: { priority: -1 } }),
      ]);
      expect(await store.retryJobs(q, 'failed')).toBe(4);
      const order: string[] = [];
      for (let job = await store.fetchNextJob(q, 'w', 1_000); job; job = await store.fetchNextJob(q, 'w', 1_000)) {
        order.push(job.id);
      }
      expect(order).toEqual(['urgent', 'w', 'f1', 'f2', 'f3']);
    });

    test('only these two states', async () => {
      await expect(store.retryJobs('q', 'waiting' as never)).rejects.toThrow(RangeError);
      await expect(store.retryJobs('q', undefined as never)).rejects.toThrow(TypeError);
    });

    describe('deduplication', () => {
      test('a key that another job holds by now is given up', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('failed', { id: 'loses', deduplicationKey: 'taken' }),
          jobIn('failed', { id: 'keeps', deduplicationKey: 'free' }),
        ]);
        await store.saveJob(q, jobIn('waiting', { id: 'holder', deduplicationKey: 'taken' }));
        expect(await store.retryJobs(q, 'failed')).toBe(2);
        expect(await store.getJob(q, 'loses')).toMatchObject({ state: 'waiting', deduplicationKey: null });
        expect(await store.findByDeduplicationKey(q, 'taken')).toMatchObject({ id: 'holder' });
        expect(await store.findByDeduplicationKey(q, 'free')).toMatchObject({ id: 'keeps' });
      });

      test('of several with one key, the first keeps it', async () => {
        const q = newQueue();
        for (const id of ['1', '2', '3']) await store.saveJob(q, jobIn('failed', { id, deduplicationKey: 'key' }));
        expect(await store.retryJobs(q, 'failed')).toBe(3);
        expect(await store.findByDeduplicationKey(q, 'key')).toMatchObject({ id: '1' });
        const keys = (await store.listJobs(q, 'waiting')).map(({ deduplicationKey }) => deduplicationKey);
        expect(keys.filter((key) => key !== null)).toEqual(['key']);
      });

      test.runIf(factory.database)('a key that somebody takes at that moment', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('failed', { id: 'loses', deduplicationKey: 'key' }),
          jobIn('failed', { id: 'b' }),
        ]);
        const taker = await openTransaction(sql);
        await insertRow(taker.sql, { queue_name: q, id: 'taker', deduplication_key: 'key' });
        const retried = store.retryJobs(q, 'failed');
        await untilWaiting(sql);
        await taker.commit();
        expect(await retried).toBe(2);
        expect(await store.getJob(q, 'loses')).toMatchObject({ state: 'waiting', deduplicationKey: null });
        expect(await store.findByDeduplicationKey(q, 'key')).toMatchObject({ id: 'taker' });
      });

      test('against adds of the same keys: at most one holder each, and everything is retried', async () => {
        const q = newQueue();
        const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
        await store.saveBulk(
          q,
          keys.map((key) => jobIn('failed', { id: `old ${key}`, deduplicationKey: key })),
        );
        const second = await factory.open();
        const add = (key: string) => second.saveJob(q, jobIn('waiting', { deduplicationKey: key }));
        const [count] = await Promise.all([store.retryJobs(q, 'failed'), ...[...keys].reverse().map(add)]);
        expect(count).toBe(40);
        const holders = (await store.listJobs(q, 'waiting')).filter((job) => job.deduplicationKey !== null);
        expect(holders.map((job) => job.deduplicationKey).sort()).toEqual([...keys].sort());
      });
    });

    describe.runIf(factory.database)('in Postgres', () => {
      test('chunk by chunk, many at once, each once', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 6_000, {
          state: `'failed'`,
          failed_at: 'now()',
          remove_at: `now() + interval '1 hour'`,
        });
        const statements = await watchStatements(sql);
        const second = await factory.open();
        const counts = await Promise.all([store.retryJobs(q, 'failed'), second.retryJobs(q, 'failed')]);
        expect(counts[0] + counts[1]).toBe(6_000);
        expect(await statements.largest()).toBeLessThanOrEqual(5_000);
        await statements.end();
        expect(await sql`select 1 from conveyor_jobs where queue_name = ${q} and remove_at is not null`).toHaveLength(
          0,
        );
        const [order] = await sql`select count(distinct seq)::int as places from conveyor_jobs where queue_name = ${q}`;
        expect(order).toEqual({ places: 6_000 });
      });

      test('a row that somebody holds is waited for; one that changed is left', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await store.saveBulk(
          q,
          ['held', 'removed', 'free'].map((id) => jobIn('failed', { id })),
        );
        const held = await openTransaction(sql);
        await held.sql`update conveyor_jobs set progress = 3 where queue_name = ${q} and id = 'held'`;
        await held.sql`delete from conveyor_jobs where queue_name = ${q} and id = 'removed'`;
        const retried = store.retryJobs(q, 'failed');
        await untilWaiting(sql);
        await held.commit();
        expect(await retried).toBe(2);
        expect(ids(await store.listJobs(q, 'waiting')).sort()).toEqual(['free', 'held']);
      });

      test('jobs that fail again meanwhile do not keep it busy', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await store.saveBulk(q, [jobIn('failed', { id: 'held' }), jobIn('failed', { id: 'again' })]);
        const held = await openTransaction(sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id = 'held' for update`;
        const retried = store.retryJobs(q, 'failed');
        await untilWaiting(sql);
        await store.updateJob(q, 'again', { state: 'failed', failedAt: new Date() });
        await held.commit();
        expect(await retried).toBe(2);
        expect(await store.getJob(q, 'again')).toMatchObject({ state: 'failed' });
      });
    });
  });
}

import { beforeAll, describe, expect, test } from 'vitest';
import { JOB_STATES } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting, watchStatements } from '../../../support/held.js';
import { insertRows, jobIn, newQueue } from '../../../support/rows.js';

/** spec/store.md: `drain`. */
export function describeDrain(makeFactory: MakeFactory): void {
  describe('drain', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    test('removes what has not begun, and nothing else', async () => {
      const [q, other] = [newQueue(), newQueue()];
      for (const queue of [q, other])
        await store.saveBulk(
          queue,
          JOB_STATES.map((state) => jobIn(state)),
        );
      await store.drain(q);
      const none = { waiting: 0, delayed: 0, 'waiting-children': 0 };
      expect(await store.getJobCounts(q)).toEqual({ ...none, active: 1, completed: 1, failed: 1 });
      expect(Object.values(await store.getJobCounts(other))).toEqual([1, 1, 1, 1, 1, 1]);
      await store.drain(newQueue());
    });

    test('a flow inside the queue goes as a whole: no parent is failed by its child', async () => {
      const q = newQueue();
      const child = (id: string, parentId: string) => ({ id, parentId, parentQueueName: q });
      await store.saveBulk(q, [
        jobIn('waiting', child('leaf', 'middle')),
        jobIn('waiting-children', child('middle', 'root')),
        jobIn('delayed', child('late leaf', 'root')),
        jobIn('waiting-children', { id: 'root', pendingChildrenCount: 2 }),
      ]);
      await store.drain(q);
      expect(Object.values(await store.getJobCounts(q))).toEqual([0, 0, 0, 0, 0, 0]);
    });

    test('parents that go in circles go as well', async () => {
      const q = newQueue();
      await store.saveBulk(q, [
        jobIn('waiting-children', { id: 'a', parentId: 'b', parentQueueName: q }),
        jobIn('waiting-children', { id: 'b', parentId: 'a', parentQueueName: q }),
        jobIn('waiting-children', { id: 'self', parentId: 'self', parentQueueName: q }),
      ]);
      await store.drain(q);
      expect(await store.countJobs(q, 'waiting-children')).toBe(0);
    });

    test('parents in other queues are reached by policy, up to the root', async () => {
      const [q, middle, top] = [newQueue(), newQueue(), newQueue()];
      await store.saveJob(top, jobIn('waiting-children', { id: 'root' }));
      await store.saveBulk(middle, [
        jobIn('waiting-children', { id: 'fails', parentId: 'root', parentQueueName: top }),
        jobIn('waiting-children', { id: 'ignores', opts: { failParentOnChildFailure: 'ignore' } }),
        jobIn('waiting-children', {
          id: 'waits',
          opts: { failParentOnChildFailure: 'ignore' },
          pendingChildrenCount: 3,
        }),
        jobIn('waiting-children', { id: 'goes', opts: { failParentOnChildFailure: 'remove' } }),
      ]);
      const child = (parentId: string) => ({ parentId, parentQueueName: middle });
      await store.saveBulk(q, [
        jobIn('waiting', child('fails')),
        jobIn('delayed', child('ignores')),
        jobIn('waiting', child('waits')),
        jobIn('delayed', child('waits')),
        jobIn('waiting-children', child('goes')),
        jobIn('waiting', child('nobody')),
      ]);
      await store.drain(q);
      expect(await store.getJob(middle, 'fails')).toMatchObject({ state: 'failed' });
      expect(await store.getJob(top, 'root')).toMatchObject({
        state: 'failed',
        failedReason: 'Child failed: Child failed: Job was removed',
      });
      expect(await store.getJob(middle, 'ignores')).toMatchObject({ state: 'waiting' });
      expect(await store.getJob(middle, 'waits')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
      expect(await store.getJob(middle, 'goes')).toBeNull();
    });

    test('a parent whose children are in several queues is counted down once for each', async () => {
      const [a, b, parents] = [newQueue(), newQueue(), newQueue()];
      const opts = { failParentOnChildFailure: 'ignore' as const };
      await store.saveJob(parents, jobIn('waiting-children', { id: 'p', opts, pendingChildrenCount: 40 }));
      const children = Array.from({ length: 20 }, () => jobIn('waiting', { parentId: 'p', parentQueueName: parents }));
      await store.saveBulk(a, children);
      await store.saveBulk(b, children);
      await Promise.all([store.drain(a), store.drain(b), store.drain(a)]);
      expect(await store.getJob(parents, 'p')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
    });

    describe.runIf(factory.database)('in Postgres', () => {
      test('chunk by chunk', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 6_000);
        await insertRows(sql, q, 6_000, { id: `'delayed-' || i`, state: `'delayed'` });
        const statements = await watchStatements(sql);
        await store.drain(q);
        expect(await statements.largest()).toBeLessThanOrEqual(5_000);
        await statements.end();
        expect(await store.getJobCounts(q)).toMatchObject({ waiting: 0, delayed: 0 });
      });

      test('flows of many chunks: no parent outlives its child by a statement', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        const parent = { parent_queue_name: `'${q}'`, state: `'waiting-children'` };
        // Children come first in every order.
        await insertRows(sql, q, 2_500, { id: `'a' || i`, parent_id: `'b' || i`, ...parent });
        await insertRows(sql, q, 2_500, { id: `'b' || i`, parent_id: `'c' || i`, ...parent });
        await insertRows(sql, q, 2_500, { id: `'c' || i`, state: `'waiting-children'` });
        await store.drain(q);
        expect(Object.values(await store.getJobCounts(q))).toEqual([0, 0, 0, 0, 0, 0]);
      });

      test('a row that somebody holds is not forgotten; a claimed one is not taken', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await store.saveBulk(q, [jobIn('waiting', { id: 'claimed' }), jobIn('waiting', { id: 'held' })]);
        const held = await openTransaction(sql);
        await held.sql`update conveyor_jobs set state = 'active' where queue_name = ${q} and id = 'claimed'`;
        await held.sql`update conveyor_jobs set progress = 1 where queue_name = ${q} and id = 'held'`;
        const drained = store.drain(q);
        await untilWaiting(sql);
        await held.commit();
        await drained;
        expect(await store.getJobCounts(q)).toMatchObject({ waiting: 0, active: 1 });
      });

      test('jobs that are added meanwhile do not keep it busy', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { id: 'held' }));
        const held = await openTransaction(sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} for update`;
        const drained = store.drain(q);
        await untilWaiting(sql);
        await store.saveJob(q, jobIn('waiting', { id: 'new' }));
        await held.commit();
        await drained;
        expect((await store.listJobs(q, 'waiting')).map(({ id }) => id)).toEqual(['new']);
      });
    });
  });
}

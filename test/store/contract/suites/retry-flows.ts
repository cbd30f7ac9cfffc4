import { beforeAll, describe, expect, test } from 'vitest';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting } from '../../../support/held.js';
import { jobIn, newQueue } from '../../../support/rows.js';

/** spec/store.md: `retryJobs`, and the jobs of flows. */
export function describeRetryFlows(makeFactory: MakeFactory): void {
  describe('retryJobs', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    describe('flows', () => {
      const parent = (queue: string, id: string) => ({ parentQueueName: queue, parentId: id });

      test('a parent whose children are unfinished waits for them', async () => {
        const [q, children] = [newQueue(), newQueue()];
        await store.saveJob(q, jobIn('failed', { id: 'p', pendingChildrenCount: 7 }));
        await store.saveBulk(
          children,
          (['waiting', 'active', 'delayed', 'completed', 'failed'] as const).map((s) => jobIn(s, parent(q, 'p'))),
        );
        expect(await store.retryJobs(q, 'failed')).toBe(1);
        expect(await store.getJob(q, 'p')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 3 });
      });

      test('a parent whose children have ended can run', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('failed', { id: 'p', pendingChildrenCount: 2, childrenIds: ['gone', 'c'] }),
          jobIn('completed', { id: 'c', ...parent(q, 'p') }),
        ]);
        await store.retryJobs(q, 'failed');
        expect(await store.getJob(q, 'p')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
      });

      test('child and parent in one queue: the parent waits for what is retried with it', async () => {
        const q = newQueue();
        // Parents first in every order, so that only the rule can help.
        await store.saveBulk(q, [
          jobIn('failed', { id: 'root', failedAt: new Date(1) }),
          jobIn('failed', { id: 'middle', failedAt: new Date(2), ...parent(q, 'root') }),
          jobIn('failed', { id: 'leaf', failedAt: new Date(3), ...parent(q, 'middle') }),
        ]);
        expect(await store.retryJobs(q, 'failed')).toBe(3);
        expect(await store.getJob(q, 'leaf')).toMatchObject({ state: 'waiting' });
        expect(await store.getJob(q, 'middle')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
        expect(await store.getJob(q, 'root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
      });

      test('a retried child counts again where its parent still waits', async () => {
        const [q, parents] = [newQueue(), newQueue()];
        const opts = { failParentOnChildFailure: 'ignore' as const };
        await store.saveBulk(parents, [
          jobIn('waiting-children', { id: 'waits', pendingChildrenCount: 1, opts }),
          jobIn('waiting', { id: 'runs', opts }),
        ]);
        await store.saveBulk(q, [
          jobIn('failed', parent(parents, 'waits')),
          jobIn('failed', parent(parents, 'waits')),
          jobIn('failed', parent(parents, 'runs')),
          jobIn('failed', parent(parents, 'nobody')),
        ]);
        expect(await store.retryJobs(q, 'failed')).toBe(4);
        expect(await store.getJob(parents, 'waits')).toMatchObject({
          state: 'waiting-children',
          pendingChildrenCount: 3,
        });
        expect(await store.getJob(parents, 'runs')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
      });

      test('jobs that go in circles are retried all the same', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('failed', { id: 'a', ...parent(q, 'b') }),
          jobIn('failed', { id: 'b', ...parent(q, 'a') }),
        ]);
        expect(await store.retryJobs(q, 'failed')).toBe(2);
        expect(await store.countJobs(q, 'failed')).toBe(0);
      });

      test.runIf(factory.database)('a child that ends at that moment is not waited for in vain', async () => {
        const { sql } = factory.database!;
        const [q, children] = [newQueue(), newQueue()];
        await store.saveJob(q, jobIn('failed', { id: 'p' }));
        await store.saveBulk(
          children,
          ['a', 'b'].map((id) => jobIn('active', { id, ...parent(q, 'p') })),
        );
        const ending = await openTransaction(sql);
        await ending.sql`update conveyor_jobs set state = 'completed', completed_at = now()
          where queue_name = ${children} and id = 'a'`;
        const retried = store.retryJobs(q, 'failed');
        await untilWaiting(sql);
        await ending.commit();
        expect(await retried).toBe(1);
        expect(await store.getJob(q, 'p')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
      });

      test.runIf(factory.database)(
        'a parent that begins to wait at that moment waits for the retried child too',
        async () => {
          const { sql } = factory.database!;
          const [q, parents] = [newQueue(), newQueue()];
          await store.saveJob(parents, jobIn('failed', { id: 'p' }));
          await store.saveJob(q, jobIn('failed', parent(parents, 'p')));
          const other = await openTransaction(sql);
          await other.sql`update conveyor_jobs set state = 'waiting-children', pending_children_count = 1
          where queue_name = ${parents}`;
          const retried = store.retryJobs(q, 'failed');
          await untilWaiting(sql);
          await other.commit();
          expect(await retried).toBe(1);
          expect(await store.getJob(parents, 'p')).toMatchObject({ pendingChildrenCount: 2 });
        },
      );

      test('parent and child retried at once: the count is what is unfinished', async () => {
        const second = await factory.open();
        for (let round = 0; round < 20; round++) {
          const [q, children] = [newQueue(), newQueue()];
          const opts = { failParentOnChildFailure: 'ignore' as const };
          await store.saveBulk(
            q,
            Array.from({ length: 5 }, (_, i) => jobIn('failed', { id: `p${i}`, opts })),
          );
          await store.saveBulk(
            children,
            Array.from({ length: 5 }, (_, i) => jobIn('failed', { id: `c${i}`, ...parent(q, `p${i}`) })),
          );
          await Promise.all([store.retryJobs(q, 'failed'), second.retryJobs(children, 'failed')]);
          for (const job of [
            ...(await store.listJobs(q, 'waiting')),
            ...(await store.listJobs(q, 'waiting-children')),
          ]) {
            // Retried before its child: it runs. Else it waits for exactly that one.
            expect(job.pendingChildrenCount).toBe(job.state === 'waiting' ? 0 : 1);
          }
        }
      });
    });
  });
}

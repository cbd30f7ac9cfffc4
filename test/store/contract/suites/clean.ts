import { beforeAll, describe, expect, test } from 'vitest';
import type { StoreEvent } from '../../../../src/model/event.js';
import { JOB_STATES } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting, watchStatements } from '../../../support/held.js';
import { insertRows, jobIn, newQueue } from '../../../support/rows.js';

const ago = (ms: number) => new Date(Date.now() - ms);
const HOUR = 3_600_000;

/** spec/store.md: `clean`. */
export function describeClean(makeFactory: MakeFactory): void {
  describe('clean', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    test.each(['waiting', 'waiting-children', 'delayed'] as const)('%s: by creation', async (state) => {
      const q = newQueue();
      await store.saveBulk(q, [
        jobIn(state, { id: 'old', createdAt: ago(2 * HOUR) }),
        jobIn(state, { id: 'older', createdAt: ago(3 * HOUR) }),
        jobIn(state, { id: 'new', createdAt: ago(1_000) }),
      ]);
      expect(await store.clean(q, state, HOUR)).toBe(2);
      expect((await store.listJobs(q, state)).map(({ id }) => id)).toEqual(['new']);
      expect(await store.clean(q, state, HOUR)).toBe(0);
    });

    test.each([
      ['completed', 'completedAt'],
      ['failed', 'failedAt'],
    ] as const)('%s: by its end', async (state, field) => {
      const q = newQueue();
      await store.saveBulk(q, [
        jobIn(state, { id: 'old', createdAt: ago(HOUR), [field]: ago(2 * HOUR) }),
        jobIn(state, { id: 'new', createdAt: ago(3 * HOUR), [field]: ago(HOUR / 2) }),
        jobIn(state, { id: 'old, end unknown', createdAt: ago(2 * HOUR), [field]: null }),
        jobIn(state, { id: 'new, end unknown', createdAt: ago(HOUR / 2), [field]: null }),
      ]);
      expect(await store.clean(q, state, HOUR)).toBe(2);
      const left = (await store.listJobs(q, state)).map(({ id }) => id);
      expect(left.sort()).toEqual(['new', 'new, end unknown']);
    });

    test('strictly older: what lies ahead of the clock stays even without grace', async () => {
      const q = newQueue();
      await store.saveBulk(q, [
        jobIn('completed', { id: 'ahead', completedAt: ago(-HOUR) }),
        jobIn('completed', { id: 'past', completedAt: ago(1_000) }),
      ]);
      expect(await store.clean(q, 'completed', 0)).toBe(1);
      expect(await store.getJob(q, 'ahead')).not.toBeNull();
    });

    test('never an active job under a live lock', async () => {
      const q = newQueue();
      const createdAt = ago(2 * HOUR);
      await store.saveBulk(q, [
        jobIn('active', { id: 'live', createdAt, lockUntil: ago(-HOUR) }),
        jobIn('active', { id: 'expired', createdAt, lockUntil: ago(1_000) }),
        jobIn('active', { id: 'never locked', createdAt, lockUntil: null, lockedBy: null }),
        jobIn('active', { id: 'expired but new', lockUntil: ago(1_000) }),
      ]);
      expect(await store.clean(q, 'active', HOUR)).toBe(2);
      expect((await store.listJobs(q, 'active')).map(({ id }) => id)).toEqual(['live', 'expired but new']);
    });

    test('other states and other queues stay', async () => {
      const [q, other] = [newQueue(), newQueue()];
      const old = { createdAt: ago(HOUR), completedAt: ago(HOUR) };
      await store.saveBulk(
        q,
        JOB_STATES.map((state) => jobIn(state, { ...old })),
      );
      await store.saveJob(other, jobIn('completed', old));
      expect(await store.clean(q, 'completed', 1_000)).toBe(1);
      expect(Object.values(await store.getJobCounts(q)).reduce((a, b) => a + b)).toBe(5);
      expect(await store.countJobs(other, 'completed')).toBe(1);
    });

    test('any grace, however long; nonsense is refused', async () => {
      const q = newQueue();
      await store.saveJob(q, jobIn('completed', { createdAt: new Date(0), completedAt: new Date(0) }));
      expect(await store.clean(q, 'completed', Number.MAX_SAFE_INTEGER)).toBe(0);
      expect(await store.clean(q, 'completed', Date.now() + HOUR)).toBe(0);
      expect(await store.clean(q, 'completed', HOUR)).toBe(1);
      await expect(store.clean(q, 'completed', -1)).rejects.toThrow(/grace is -1/);
      await expect(store.clean(q, 'completed', Number.NaN)).rejects.toThrow(RangeError);
      await expect(store.clean(q, 'done' as never, 0)).rejects.toThrow(RangeError);
    });

    describe('children that had not ended', () => {
      const flow = async (policy?: 'fail' | 'ignore' | 'remove') => {
        const [q, parents] = [newQueue('children'), newQueue('parents')];
        const opts = policy ? { failParentOnChildFailure: policy } : {};
        await store.saveJob(parents, jobIn('waiting-children', { id: 'parent', opts, pendingChildrenCount: 1 }));
        const parent = { parentId: 'parent', parentQueueName: parents };
        await store.saveJob(q, jobIn('waiting', { id: 'child', ...parent, createdAt: ago(HOUR) }));
        return { q, parents };
      };

      test('fail their parent, which is said', async () => {
        const { q, parents } = await flow();
        const events: StoreEvent[] = [];
        store.subscribe(parents, (event) => void events.push(event));
        expect(await store.clean(q, 'waiting', 1_000)).toBe(1);
        const parent = await store.getJob(parents, 'parent');
        expect(parent).toMatchObject({ state: 'failed', failedReason: 'Child failed: Job was removed' });
        expect(parent?.failedAt).toBeInstanceOf(Date);
        expect(events).toMatchObject([{ type: 'job:failed', jobId: 'parent' }]);
      });

      test('are counted down by a parent that ignores them', async () => {
        const { q, parents } = await flow('ignore');
        const events: StoreEvent[] = [];
        store.subscribe(parents, (event) => void events.push(event));
        await store.clean(q, 'waiting', 1_000);
        expect(await store.getJob(parents, 'parent')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
        expect(events).toMatchObject([{ type: 'job:waiting', jobId: 'parent' }]);
      });

      test('take a parent with them that says so', async () => {
        const { q, parents } = await flow('remove');
        await store.clean(q, 'waiting', 1_000);
        expect(await store.getJob(parents, 'parent')).toBeNull();
      });

      test('a parent is cleaned with its children, not failed by them', async () => {
        const q = newQueue();
        const createdAt = ago(HOUR);
        // The middle one was inserted first, so that it comes first in every index.
        await store.saveBulk(q, [
          jobIn('waiting-children', { id: 'middle', createdAt, parentId: 'root', parentQueueName: q }),
          jobIn('waiting-children', { id: 'leaf', createdAt, parentId: 'middle', parentQueueName: q }),
          jobIn('waiting-children', { id: 'root', createdAt }),
        ]);
        expect(await store.clean(q, 'waiting-children', 1_000)).toBe(3);
        expect(await store.countJobs(q, 'failed')).toBe(0);
      });

      test('a parent that is too young is treated by its policy', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('waiting-children', { id: 'root' }),
          jobIn('waiting-children', { id: 'old', createdAt: ago(HOUR), parentId: 'root', parentQueueName: q }),
        ]);
        expect(await store.clean(q, 'waiting-children', 1_000)).toBe(1);
        expect(await store.getJob(q, 'root')).toMatchObject({ state: 'failed' });
      });
    });

    describe.runIf(factory.database)('in Postgres', () => {
      test('chunk by chunk, whatever there is', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 12_000, { state: `'completed'`, completed_at: `now() - interval '1 hour'` });
        const statements = await watchStatements(sql);
        expect(await store.clean(q, 'completed', 1_000)).toBe(12_000);
        expect(await statements.largest()).toBeLessThanOrEqual(5_000);
        await statements.end();
      });

      test('the values of completed children stay with a parent that is still to run', async () => {
        const { sql } = factory.database!;
        const [q, parents] = [newQueue(), newQueue()];
        await store.saveJob(parents, jobIn('waiting-children', { id: 'parent', pendingChildrenCount: 1 }));
        const child = { parentId: 'parent', parentQueueName: parents, completedAt: ago(HOUR) };
        await store.saveBulk(q, [
          jobIn('completed', { ...child, id: 'a', returnvalue: { n: 1 } }),
          jobIn('completed', { ...child, id: 'b', returnvalue: null }),
        ]);
        expect(await store.clean(q, 'completed', 1_000)).toBe(2);
        const [row] = await sql`select children_values, state from conveyor_jobs where queue_name = ${parents}`;
        expect(row).toEqual({ children_values: { a: { n: 1 }, b: null }, state: 'waiting-children' });
      });

      test('rows that somebody holds are waited for, and judged as they are then', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        const old = { createdAt: ago(HOUR) };
        await store.saveBulk(
          q,
          ['held', 'changed', 'free'].map((id) => jobIn('waiting', { id, ...old })),
        );
        const held = await openTransaction(sql);
        await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id = 'held' for update`;
        await held.sql`update conveyor_jobs set state = 'active' where queue_name = ${q} and id = 'changed'`;
        const cleaned = store.clean(q, 'waiting', 1_000);
        await untilWaiting(sql);
        expect(await store.getJob(q, 'free')).toBeNull();
        await held.commit();
        expect(await cleaned).toBe(2);
        expect(await store.getJob(q, 'changed')).toMatchObject({ state: 'active' });
      });

      test('many at once take each job once', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 5_000, { state: `'failed'`, failed_at: `now() - interval '1 hour'` });
        const second = await factory.open();
        const counts = await Promise.all([store, second, store, second].map((each) => each.clean(q, 'failed', 1_000)));
        expect(counts.reduce((a, b) => a + b)).toBe(5_000);
        expect(await store.countJobs(q, 'failed')).toBe(0);
      });
    });
  });
}

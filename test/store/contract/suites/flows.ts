import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ConveyorError } from '../../../../src/model/errors.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting } from '../../../support/held.js';
import { childOf, flowOf, inFlow, insertRow, jobIn } from '../../../support/rows.js';

/** spec/store.md: Flows. */
export function describeFlows(makeFactory: MakeFactory): void {
  const factory = makeFactory();
  let store: ContractStore;
  beforeAll(async () => {
    store = await factory.open();
  });
  beforeEach(() => store.truncateAll());

  const parent = jobIn('waiting', { queueName: 'parents', id: 'root' });
  const state = async (queue: string, id: string) => (await store.getJob(queue, id))?.state;
  const count = async () => (await store.searchJobs({})).total;

  describe('saveFlow', () => {
    test('saves jobs of any queues and answers in input order', async () => {
      const flow = flowOf(parent, [childOf(parent, 'b'), childOf(parent, 'a', { queueName: 'others' })]);
      expect(await store.saveFlow(flow)).toEqual(['root', 'b', 'a']);
      expect(await store.getJob('parents', 'root')).toMatchObject({
        state: 'waiting-children',
        pendingChildrenCount: 2,
        childrenIds: ['b', 'a'],
      });
      expect(await store.getJob('others', 'a')).toMatchObject({
        state: 'waiting',
        parentId: 'root',
        parentQueueName: 'parents',
      });
      expect(await store.saveFlow([])).toEqual([]);
    });

    test('the jobs can be fetched in the order of the input, the parent not at all', async () => {
      const children = ['z', 'm', 'a'].map((id) => childOf(parent, id));
      await store.saveFlow(flowOf(parent, children));
      const fetched = [];
      for (;;) {
        const job = await store.fetchNextJob('parents', 'w', 1000);
        if (!job) break;
        fetched.push(job.id);
      }
      expect(fetched).toEqual(['z', 'm', 'a']);
    });

    test('generates the ids that are missing', async () => {
      const { id: _none, ...child } = childOf(parent, 'x');
      const [root, generated] = await store.saveFlow([inFlow(parent), inFlow(child)]);
      expect(root).toBe('root');
      expect(await state('parents', generated as string)).toBe('waiting');
    });

    test('the same tree added again gives the ids that are there, and saves nothing', async () => {
      const tree = (suffix: string) => {
        const mid = childOf(parent, `mid${suffix}`, {
          state: 'waiting-children',
          pendingChildrenCount: 1,
          childrenIds: [`leaf${suffix}`],
        });
        const leaf = childOf(mid, `leaf${suffix}`, { queueName: 'others' });
        const side = childOf(parent, `side${suffix}`);
        const root = { ...parent, state: 'waiting-children' as const, pendingChildrenCount: 2 };
        return [{ ...root, childrenIds: [mid.id, side.id] }, mid, leaf, side].map(inFlow);
      };
      await store.saveFlow(tree('1'));
      expect(await store.saveFlow(tree('2'))).toEqual(['root', 'mid1', 'leaf1', 'side1']);
      expect(await count()).toBe(4);
      // A child that has been removed since still had its id.
      await store.removeJob('parents', 'side1');
      expect(await store.saveFlow(tree('3'))).toEqual(['root', 'mid1', 'leaf1', 'side1']);
      expect(await count()).toBe(3);
    });

    test('a root whose deduplication key is held gives the holder', async () => {
      const keyed = { ...parent, deduplicationKey: 'k' };
      await store.saveFlow(flowOf(keyed, [childOf(parent, 'a')]));
      const again = { ...keyed, id: 'root2' };
      expect(await store.saveFlow(flowOf(again, [childOf(again, 'b')]))).toEqual(['root', 'a']);
      expect(await count()).toBe(2);
    });

    test('a root whose key has outlived its time is new', async () => {
      const keyed = { ...parent, deduplicationKey: 'k', opts: { deduplication: { key: 'k', ttl: 60_000 } } };
      await store.saveFlow([inFlow({ ...keyed, createdAt: new Date(Date.now() - 61_000) })]);
      const again = { ...keyed, id: 'root2' };
      expect(await store.saveFlow(flowOf(again, [childOf(again, 'b')]))).toEqual(['root2', 'b']);
      expect((await store.findByDeduplicationKey('parents', 'k'))?.id).toBe('root2');
    });

    test('a child in the way is an error, and nothing is saved', async () => {
      await store.saveJob('others', jobIn('waiting', { id: 'taken', deduplicationKey: 'k' }));
      const byId = flowOf(parent, [childOf(parent, 'a'), childOf(parent, 'taken', { queueName: 'others' })]);
      await expect(store.saveFlow(byId)).rejects.toThrow(/"taken" of queue "others" exists already.*nothing/);
      const byKey = flowOf(parent, [childOf(parent, 'b', { queueName: 'others', deduplicationKey: 'k' })]);
      await expect(store.saveFlow(byKey)).rejects.toThrow(/"taken" of queue "others" holds.*"k".*nothing/);
      await expect(store.saveFlow(byKey)).rejects.toMatchObject({ code: 'FLOW_CONFLICT' });
      expect(await count()).toBe(1);
    });

    test('two jobs of the flow with one id or key are an error before any SQL', async () => {
      await expect(store.saveFlow(flowOf(parent, [childOf(parent, 'root')]))).rejects.toThrow(ConveyorError);
      const twins = ['a', 'b'].map((id) => childOf(parent, id, { deduplicationKey: 'k' }));
      await expect(store.saveFlow(flowOf(parent, twins))).rejects.toThrow('Two jobs of the flow');
    });

    test('added 16 times at once it is there once', async () => {
      const stores = await Promise.all(Array.from({ length: 4 }, () => factory.open()));
      const add = (i: number) =>
        stores[i % 4]!.saveFlow(flowOf(parent, [childOf(parent, `a${i}`), childOf(parent, `b${i}`)]));
      const all = await Promise.all(Array.from({ length: 16 }, (_, i) => add(i)));
      expect(new Set(all.map((ids) => ids.join())).size).toBe(1);
      expect(await count()).toBe(3);
    });

    test('what another transaction commits meanwhile is in the way like anything else', async () => {
      const sql = factory.database?.sql;
      if (!sql) return;
      const other = await openTransaction(sql);
      await insertRow(other.sql, { queue_name: 'others', id: 'taken' });
      const saving = store.saveFlow(
        flowOf(parent, [childOf(parent, 'a'), childOf(parent, 'taken', { queueName: 'others' })]),
      );
      saving.catch(() => {});
      await untilWaiting(sql);
      await other.commit();
      await expect(saving).rejects.toThrow('"taken" of queue "others" exists already');
      expect(await count()).toBe(1);
    });

    test('saves a flow of 2,000 jobs', async () => {
      const children = Array.from({ length: 2000 }, (_, i) => childOf(parent, `c${i}`));
      expect(await store.saveFlow(flowOf(parent, children))).toHaveLength(2001);
      expect(await store.getChildrenJobs('parents', 'root')).toHaveLength(2000);
    });
  });

  describe('notifyChildCompleted', () => {
    const waiting = (fields = {}) =>
      store.saveJob('parents', { ...parent, state: 'waiting-children', pendingChildrenCount: 2, ...fields });

    test('counts down; at 0 the parent can be fetched; with no child rows', async () => {
      await waiting();
      expect(await store.notifyChildCompleted('parents', 'root')).toBe('waiting-children');
      expect(await store.getJob('parents', 'root')).toMatchObject({ pendingChildrenCount: 1 });
      expect(await store.notifyChildCompleted('parents', 'root')).toBe('waiting');
      expect(await store.getJob('parents', 'root')).toMatchObject({ pendingChildrenCount: 0, state: 'waiting' });
      expect((await store.fetchNextJob('parents', 'w', 1000))?.id).toBe('root');
    });

    test('a parent that is missing or does not wait for children: completed', async () => {
      expect(await store.notifyChildCompleted('parents', 'nobody')).toBe('completed');
      await waiting({ state: 'waiting' });
      expect(await store.notifyChildCompleted('parents', 'root')).toBe('completed');
      expect(await store.getJob('parents', 'root')).toMatchObject({ pendingChildrenCount: 2, state: 'waiting' });
    });

    test('a delay of the parent that is not over yet is kept', async () => {
      await waiting({ pendingChildrenCount: 1, delayUntil: new Date(Date.now() + 60_000) });
      expect(await store.notifyChildCompleted('parents', 'root')).toBe('delayed');
    });

    test('100 at once from 4 stores: exactly one of them makes it waiting', async () => {
      await waiting({ pendingChildrenCount: 100 });
      const stores = await Promise.all(Array.from({ length: 4 }, () => factory.open()));
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => stores[i % 4]!.notifyChildCompleted('parents', 'root')),
      );
      expect(answers.filter((answer) => answer === 'waiting')).toHaveLength(1);
      expect(answers.filter((answer) => answer === 'waiting-children')).toHaveLength(99);
    });
  });

  describe('failParentOnChildFailure', () => {
    test('fails a parent that waits for children, whatever its policy', async () => {
      await store.saveFlow(flowOf({ ...parent, opts: { failParentOnChildFailure: 'ignore' } }, [childOf(parent, 'a')]));
      expect(await store.failParentOnChildFailure('parents', 'root', 'boom \0')).toBe(true);
      const failed = await store.getJob('parents', 'root');
      expect(failed).toMatchObject({ state: 'failed', failedReason: 'Child failed: boom \ufffd' });
      expect(Math.abs(Number(failed?.failedAt) - Date.now())).toBeLessThan(10_000);
      expect(await store.failParentOnChildFailure('parents', 'root', 'again')).toBe(false);
      expect((await store.getJob('parents', 'root'))?.failedReason).toBe('Child failed: boom \ufffd');
    });

    test('anything else: false', async () => {
      expect(await store.failParentOnChildFailure('parents', 'nobody', 'x')).toBe(false);
      await store.saveJob('parents', parent);
      expect(await store.failParentOnChildFailure('parents', 'root', 'x')).toBe(false);
      expect(await state('parents', 'root')).toBe('waiting');
    });

    test('of many at once with a count-down, one decides', async () => {
      for (let i = 0; i < 10; i++) {
        await store.truncateAll();
        await store.saveJob('parents', { ...parent, state: 'waiting-children', pendingChildrenCount: 1 });
        const [failed, next] = await Promise.all([
          store.failParentOnChildFailure('parents', 'root', 'x'),
          store.notifyChildCompleted('parents', 'root'),
        ]);
        expect([failed, next, await state('parents', 'root')]).toEqual(
          failed ? [true, 'completed', 'failed'] : [false, 'waiting', 'waiting'],
        );
      }
    });
  });

  describe('getChildrenJobs', () => {
    test('children of any queue and state, oldest first', async () => {
      const at = (ms: number) => ({ createdAt: new Date(1_700_000_000_000 + ms) });
      await store.saveFlow(
        flowOf(parent, [
          childOf(parent, 'late', at(2)),
          childOf(parent, 'same1', { queueName: 'others', ...at(1) }),
          childOf(parent, 'same0', { ...at(1), state: 'completed' }),
          childOf(parent, 'early', at(0)),
        ]),
      );
      await store.saveJob('others', childOf({ queueName: 'others', id: 'root' }, 'stranger'));
      const children = await store.getChildrenJobs('parents', 'root');
      expect(children.map(({ id }) => id)).toEqual(['early', 'same1', 'same0', 'late']);
      expect(await store.getChildrenJobs('parents', 'nobody')).toEqual([]);
    });
  });
}

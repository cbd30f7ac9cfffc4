import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ChildFailurePolicy, JobData } from '../../src/model/job.js';
import { cancelJob, removeOne } from '../../src/store/change/end.js';
import { retryOne } from '../../src/store/change/retry.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { inFlow, jobIn } from '../support/rows.js';
import { claimAll, claimSome, endOf, settleWith } from '../support/settling.js';
import {
  completes,
  fails,
  isCancelled,
  isRemoved,
  isRetried,
  type ModelNode,
  randomFrom,
  randomTree,
  unfinished,
} from './flow-model.js';

const db = useDatabase();
let store: PgStore;
let other: PgStore;
beforeAll(async () => {
  store = await openStore(db.url);
  other = await openStore(db.url);
});
afterAll(() => Promise.all([store.disconnect(), other.disconnect()]));
beforeEach(() => store.truncateAll());

const policy = (of: ChildFailurePolicy) => ({ opts: { failParentOnChildFailure: of } });

describe('random trees', () => {
  const save = (nodes: ModelNode[]) =>
    store.saveFlow(
      nodes.map((node) =>
        inFlow(
          jobIn(node.state as JobData['state'], {
            queueName: node.queueName,
            id: node.id,
            ...policy(node.policy),
            pendingChildrenCount: node.pending,
            childrenIds: node.children.map(({ id }) => id),
            ...(node.parent ? { parentId: node.parent.id, parentQueueName: node.parent.queueName } : {}),
          }),
        ),
      ),
    );
  const claimEverything = async () => {
    const maps = await Promise.all(['q0', 'q1', 'q2'].map((queue) => claimAll(store, queue)));
    return new Map(maps.flatMap((map) => [...map]));
  };
  async function expectLike(nodes: ModelNode[]): Promise<void> {
    const rows = await db.sql<{ id: string; state: string; n: number }[]>`
      select id, state, pending_children_count as n from conveyor_jobs`;
    const shown = rows.map(({ id, state, n }) => `${id} ${state}${state === 'waiting-children' ? ` ${n}` : ''}`);
    const wanted = nodes
      .filter(({ state }) => state !== 'removed')
      .map(({ id, state, pending }) => `${id} ${state}${state === 'waiting-children' ? ` ${pending}` : ''}`);
    expect(shown.sort()).toEqual(wanted.sort());
  }

  test.each(Array.from({ length: 20 }, (_, i) => i + 1))('tree %i behaves like the model', async (seed) => {
    const random = randomFrom(seed * 7919);
    const nodes = randomTree(random, `t${seed}`);
    await save(nodes);
    const byId = new Map(nodes.map((node) => [node.id, node]));
    const held = new Map<string, StoredJob>();
    for (let step = 0; step < 60; step++) {
      for (const [id, stored] of await claimEverything()) {
        held.set(id, stored);
        byId.get(id)!.state = 'active';
      }
      const verb = random(10);
      const node = nodes[random(nodes.length)] as ModelNode;
      if (verb === 0 && random(3) === 0) {
        await removeOne(store.engine.executor, node.queueName, node.id);
        if (node.state !== 'removed') isRemoved(node);
        held.delete(node.id);
      } else if (verb === 1) {
        await cancelJob(store.engine.executor, node.queueName, node.id);
        isCancelled(node);
      } else if (verb <= 3) {
        await retryOne(store.engine.executor, node.queueName, node.id);
        isRetried(node);
      } else {
        const batch = [...held.keys()].filter(() => random(2) === 0).slice(0, 4);
        const settlements = batch.map((id) => endOf(held.get(id), random(3) > 0 ? 'completed' : 'failed'));
        if (settlements.length > 0) await settleWith(store, ...settlements);
        for (const { id, kind } of settlements) {
          held.delete(id);
          if (kind === 'completed') completes(byId.get(id)!);
          else fails(byId.get(id)!);
        }
      }
      await expectLike(nodes);
    }
    // Whatever has happened: once all that can run has run, nothing waits for children that will not come.
    for (let rounds = 0; nodes.some(unfinished) && rounds < 50; rounds++) {
      for (const [id, stored] of await claimEverything()) held.set(id, stored);
      for (const id of held.keys()) {
        const { outcomes } = await settleWith(store, endOf(held.get(id), 'completed'));
        if (outcomes[0]) completes(byId.get(id)!);
      }
      held.clear();
    }
    await expectLike(nodes);
    expect(nodes.filter(unfinished)).toEqual([]);
  });

  test('many hands at once: every count is right afterwards, and nothing is left waiting', async () => {
    const random = randomFrom(4242);
    const nodes = Array.from({ length: 12 }, (_, i) => randomTree(random, `m${i}`)).flat();
    await save(nodes);
    const hand = async (by: PgStore, seed: number) => {
      const own = randomFrom(seed);
      const { executor } = by.engine;
      for (let step = 0; step < 60; step++) {
        const node = nodes[own(nodes.length)] as ModelNode;
        const verb = own(12);
        if (verb === 0) await cancelJob(executor, node.queueName, node.id);
        else if (verb === 1 && own(4) === 0) await removeOne(executor, node.queueName, node.id);
        else if (verb <= 4) await retryOne(executor, node.queueName, node.id);
        else {
          const batch = (await claimSome(by, `q${own(3)}`, 3)).map((stored) =>
            endOf(stored, own(3) > 0 ? 'completed' : 'failed'),
          );
          if (batch.length > 0) await settleWith(by, ...batch);
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, i) => hand(i % 2 ? store : other, i + 1)));
    const wrong = () => db.sql`
      select p.id, p.pending_children_count, count(c.id) filter (where c.state not in ('completed', 'failed'))::int as n
      from conveyor_jobs p left join conveyor_jobs c on c.parent_id = p.id and c.parent_queue_name = p.queue_name
      where p.state = 'waiting-children' group by p.queue_name, p.id
      having p.pending_children_count <> count(c.id) filter (where c.state not in ('completed', 'failed'))`;
    expect(await wrong()).toEqual([]);
    for (;;) {
      const claimed = await claimEverything();
      if (claimed.size === 0) break;
      await settleWith(store, ...[...claimed.values()].map((stored) => endOf(stored, 'completed')));
    }
    expect(await wrong()).toEqual([]);
    expect((await db.sql`select id from conveyor_jobs where state not in ('completed', 'failed')`).length).toBe(0);
  });
});

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ChildFailurePolicy, JobData } from '../../src/model/job.js';
import { cancelJob, removeOne, retryOne } from '../../src/store/change/job-verbs.js';
import { claim } from '../../src/store/claim/claim.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { sweep } from '../../src/store/lease/renew.js';
import { getJob } from '../../src/store/read/find.js';
import type { StoredJob } from '../../src/store/rows/job-row.js';
import { type Settlement, settle } from '../../src/store/settle/settle.js';
import { useDatabase } from '../support/database.js';
import { untilWaiting } from '../support/held.js';
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
import { inFlow, lockRow, makeChild, makeFlow, makeJob, openStore } from './make-job.js';

const db = useDatabase();
let store: PgStore;
let other: PgStore;
beforeAll(async () => {
  store = await openStore(db.url);
  other = await openStore(db.url);
});
afterAll(() => Promise.all([store.disconnect(), other.disconnect()]));
beforeEach(() => store.truncateAll());

const Q = 'q';
const PLAIN = { metrics: false, shard: 0 };
const root = makeJob(Q, 'root');
const policy = (of: ChildFailurePolicy) => ({ opts: { failParentOnChildFailure: of } });

async function claimAll(queueName = Q, by = store): Promise<Map<string, StoredJob>> {
  const jobs = await claim(by.engine.executor, { queueName, workerId: 'w', lockDuration: 60_000, limit: 1000 });
  return new Map(jobs.map((stored) => [stored.job.id, stored]));
}

function ends(stored: StoredJob | undefined, kind: Settlement['kind'], more: Partial<Settlement> = {}): Settlement {
  if (!stored) throw new Error('the job was not claimed');
  const { job, lease } = stored;
  const base = { queueName: job.queueName, id: job.id, lease, workerId: 'w', kind, hasParent: job.parentId !== null };
  return { ...base, ...(kind === 'completed' ? { returnvalue: '1' } : { reason: 'boom' }), ...more };
}

const settleWith = (by: PgStore, ...batch: Settlement[]) => settle(by.engine.executor, batch, PLAIN);
const job = async (id: string, queueName = Q) => (await store.getJob(queueName, id)) as JobData;
const states = async () => {
  const rows = await db.sql<{ id: string; state: string }[]>`select id, state from conveyor_jobs`;
  return Object.fromEntries(rows.map(({ id, state }) => [id, state]));
};
/** root ◀ mid ◀ leaf, each with the given policy. */
async function chain(ofRoot: ChildFailurePolicy, ofMid: ChildFailurePolicy): Promise<void> {
  const top = { ...root, ...policy(ofRoot), state: 'waiting-children' as const, pendingChildrenCount: 1 };
  const mid = makeChild(root, 'mid', { ...policy(ofMid), state: 'waiting-children', pendingChildrenCount: 1 });
  await store.saveFlow([top, mid, makeChild(mid, 'leaf')].map(inFlow));
}

describe('completed children', () => {
  test('count down, and the last one lets the parent go', async () => {
    await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
    const claimed = await claimAll();
    expect((await settleWith(store, ends(claimed.get('a'), 'completed'))).parents).toEqual([]);
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
    const { parents } = await settleWith(store, ends(claimed.get('b'), 'completed'));
    expect(parents).toEqual([{ queueName: Q, id: 'root', state: 'waiting', reason: null }]);
    expect(await job('root')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
    expect((await claimAll()).has('root')).toBe(true);
  });

  test('both in one batch, and of another queue', async () => {
    await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b', { queueName: 'other' })]));
    const batch = [
      ends((await claimAll()).get('a'), 'completed'),
      ends((await claimAll('other')).get('b'), 'completed'),
    ];
    expect((await settleWith(store, ...batch)).parents).toHaveLength(1);
    expect((await job('root')).state).toBe('waiting');
  });

  test('settled twice they count once', async () => {
    await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
    const settlement = ends((await claimAll()).get('a'), 'completed');
    await settleWith(store, settlement);
    expect(await settleWith(store, settlement)).toEqual({ outcomes: [undefined], parents: [] });
    await Promise.all([settleWith(store, settlement), settleWith(other, settlement)]);
    expect((await job('root')).pendingChildrenCount).toBe(1);
  });

  test('retries, delays and releases do not count', async () => {
    await store.saveFlow(makeFlow(root, [makeChild(root, 'a')]));
    for (const kind of ['retry', 'delayed', 'released'] as const) {
      const { parents } = await settleWith(store, ends((await claimAll()).get('a'), kind, { delayMs: 0, until: 0 }));
      expect(parents).toEqual([]);
      await store.promoteDelayedJobs(Q, Date.now());
    }
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });

  test('values of children that are removed, now or later, stay with the parent', async () => {
    const ids = ['now', 'later', 'kept', 'failed'];
    await store.saveFlow(
      makeFlow(
        { ...root, ...policy('ignore') },
        ids.map((id) => makeChild(root, id)),
      ),
    );
    const claimed = await claimAll();
    await settleWith(
      store,
      ends(claimed.get('now'), 'completed', { returnvalue: '{"n":1}', removeCompletedAfter: 0 }),
      ends(claimed.get('later'), 'completed', { returnvalue: 'null', removeCompletedAfter: 5_000 }),
      ends(claimed.get('kept'), 'completed', { removeFailedAfter: 0 }),
      ends(claimed.get('failed'), 'failed', { removeFailedAfter: 0 }),
    );
    expect(await states()).toEqual({ root: 'waiting', later: 'completed', kept: 'completed' });
    expect((await getJob(store.engine.executor, Q, 'root'))?.childrenValues).toEqual({ now: { n: 1 }, later: null });
  });

  test('a parent with a delay that is not over becomes delayed, after it waiting', async () => {
    for (const [ms, state, delayed] of [
      [60_000, 'delayed', true],
      [-1, 'waiting', false],
    ] as const) {
      await store.truncateAll();
      await store.saveFlow(makeFlow({ ...root, delayUntil: new Date(Date.now() + ms) }, [makeChild(root, 'a')]));
      await settleWith(store, ends((await claimAll()).get('a'), 'completed'));
      expect((await job('root')).state).toBe(state);
      expect((await job('root')).delayUntil !== null).toBe(delayed);
    }
  });
});

describe('failed children', () => {
  test.each([
    ['fail', 'fail', { root: 'failed', mid: 'failed', leaf: 'failed' }],
    ['ignore', 'fail', { root: 'waiting', mid: 'failed', leaf: 'failed' }],
    ['fail', 'ignore', { root: 'waiting-children', mid: 'waiting', leaf: 'failed' }],
    ['fail', 'remove', { root: 'failed', leaf: 'failed' }],
    ['remove', 'fail', { mid: 'failed', leaf: 'failed' }],
    ['remove', 'remove', { leaf: 'failed' }],
    ['ignore', 'remove', { root: 'waiting', leaf: 'failed' }],
    ['ignore', 'ignore', { root: 'waiting-children', mid: 'waiting', leaf: 'failed' }],
  ] as const)('under %s and %s', async (ofRoot, ofMid, expected) => {
    await chain(ofRoot, ofMid);
    await settleWith(store, ends((await claimAll()).get('leaf'), 'failed'));
    expect(await states()).toEqual(expected);
  });

  test('the reason reaches the root, and who changed is told', async () => {
    await chain('fail', 'fail');
    const { parents } = await settleWith(store, ends((await claimAll()).get('leaf'), 'failed'));
    expect(parents).toEqual(
      expect.arrayContaining([
        { queueName: Q, id: 'mid', state: 'failed', reason: 'Child failed: boom' },
        { queueName: Q, id: 'root', state: 'failed', reason: 'Child failed: Child failed: boom' },
      ]),
    );
    expect(await job('mid')).toMatchObject({ failedReason: 'Child failed: boom' });
    expect((await job('root')).failedAt).not.toBeNull();
  });

  test('an ended parent is removed on failure as it asked', async () => {
    const top = {
      ...root,
      opts: { removeOnFail: 60_000 },
      state: 'waiting-children' as const,
      pendingChildrenCount: 1,
    };
    const mid = makeChild(root, 'mid', {
      opts: { removeOnFail: true },
      state: 'waiting-children',
      pendingChildrenCount: 1,
    });
    await store.saveFlow([top, mid, makeChild(mid, 'leaf')].map(inFlow));
    const { parents } = await settleWith(store, ends((await claimAll()).get('leaf'), 'failed'));
    expect(parents.map(({ id, state }) => [id, state]).sort()).toEqual([
      ['mid', 'removed'],
      ['root', 'failed'],
    ]);
    expect(await states()).toEqual({ root: 'failed', leaf: 'failed' });
    expect((await db.sql`select remove_at > now() as set from conveyor_jobs where id = 'root'`)[0]?.['set']).toBe(true);
  });

  test('the other children of a failed parent end without an effect', async () => {
    await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
    const claimed = await claimAll();
    await settleWith(store, ends(claimed.get('a'), 'failed'));
    expect((await settleWith(store, ends(claimed.get('b'), 'completed'))).parents).toEqual([]);
    expect((await job('root')).state).toBe('failed');
  });

  test('mixed levels in one batch', async () => {
    // root(ignore) ◀ mid(fail) ◀ leaf; root ◀ side; root ◀ slow: leaf fails, side completes, slow is still there.
    const top = { ...root, ...policy('ignore'), state: 'waiting-children' as const, pendingChildrenCount: 3 };
    const mid = makeChild(root, 'mid', { state: 'waiting-children', pendingChildrenCount: 2 });
    const leaves = [makeChild(mid, 'leaf'), makeChild(mid, 'twig'), makeChild(root, 'side'), makeChild(root, 'slow')];
    await store.saveFlow([top, mid, ...leaves].map(inFlow));
    const claimed = await claimAll();
    const batch = [
      ends(claimed.get('leaf'), 'failed'),
      ends(claimed.get('twig'), 'failed', { reason: 'second' }),
      ends(claimed.get('side'), 'completed'),
    ];
    expect((await settleWith(store, ...batch)).parents.map(({ id }) => id)).toEqual(['mid']);
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
    await settleWith(store, ends(claimed.get('slow'), 'completed'));
    expect((await job('root')).state).toBe('waiting');
  });

  test('a parent that is missing, or its own ancestor, stops nobody', async () => {
    await store.saveJob(Q, makeJob(Q, 'orphan', { parentId: 'nobody', parentQueueName: Q }));
    const ring = { state: 'waiting-children' as const, pendingChildrenCount: 2 };
    await store.saveJob(Q, makeJob(Q, 'x', { ...ring, parentId: 'y', parentQueueName: Q }));
    await store.saveJob(Q, makeJob(Q, 'y', { ...ring, parentId: 'x', parentQueueName: Q }));
    await store.saveJob(Q, makeJob(Q, 'leaf', { parentId: 'x', parentQueueName: Q }));
    const claimed = await claimAll();
    await settleWith(store, ends(claimed.get('orphan'), 'failed'), ends(claimed.get('leaf'), 'failed'));
    expect(await states()).toEqual({ orphan: 'failed', leaf: 'failed', x: 'failed', y: 'failed' });
  });

  test('a chain of 150 levels fails up to its root', async () => {
    const links = Array.from({ length: 150 }, (_, i) =>
      makeJob(Q, `n${i}`, {
        ...(i > 0 ? { parentId: `n${i - 1}`, parentQueueName: Q } : {}),
        ...(i < 149 ? { state: 'waiting-children', pendingChildrenCount: 1 } : {}),
      }),
    );
    await store.saveFlow(links.map(inFlow));
    const { parents } = await settleWith(store, ends((await claimAll()).get('n149'), 'failed'));
    expect(parents).toHaveLength(149);
    expect(new Set(Object.values(await states()))).toEqual(new Set(['failed']));
  });
});

describe('sweep', () => {
  const expire = () => db.sql`update conveyor_jobs set lock_until = now() - interval '1 second' where state = 'active'`;

  test('a child that stalled too often fails, and its parents with it', async () => {
    await chain('ignore', 'fail');
    await claimAll();
    await expire();
    expect((await sweep(store.engine.executor, Q, 1)).parents).toEqual([]);
    expect(await states()).toEqual({ root: 'waiting-children', mid: 'waiting-children', leaf: 'waiting' });
    await claimAll();
    await expire();
    const { jobs, parents } = await sweep(store.engine.executor, Q, 1);
    expect(jobs).toMatchObject([{ id: 'leaf', state: 'failed' }]);
    expect(parents.map(({ id, state }) => [id, state]).sort()).toEqual([
      ['mid', 'failed'],
      ['root', 'waiting'],
    ]);
    expect(await states()).toEqual({ root: 'waiting', mid: 'failed', leaf: 'failed' });
  });

  test('two sweepers count it once', async () => {
    await store.saveFlow(
      makeFlow(
        { ...root, ...policy('ignore') },
        ['a', 'b', 'c'].map((id) => makeChild(root, id)),
      ),
    );
    await claimAll();
    await expire();
    await db.sql`update conveyor_jobs set lock_until = now() + interval '1 hour' where id = 'c'`;
    const swept = await Promise.all([store, other].map((by) => sweep(by.engine.executor, Q, 0)));
    expect(swept.flatMap(({ jobs }) => jobs)).toHaveLength(2);
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });
});

describe('at the same time', () => {
  test('two children of one parent, settled on two connections', async () => {
    for (let i = 0; i < 25; i++) {
      await store.truncateAll();
      await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
      const claimed = await claimAll();
      const answers = await Promise.all([
        settleWith(store, ends(claimed.get('a'), 'completed')),
        settleWith(other, ends(claimed.get('b'), 'completed')),
      ]);
      expect(answers.flatMap(({ parents }) => parents)).toHaveLength(1);
      expect(await job('root')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
    }
  });

  test('the second waits for the first, and counts on from there', async () => {
    await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
    const claimed = await claimAll();
    const lock = await lockRow(db.sql, Q, 'root');
    const settling = settleWith(store, ends(claimed.get('a'), 'completed'));
    await untilWaiting(db.sql);
    await lock.sql`update conveyor_jobs set pending_children_count = 1 where id = 'root'`;
    await lock.commit();
    expect((await settling).parents).toMatchObject([{ id: 'root', state: 'waiting' }]);
  });

  test('a parent that is retried while its last child ends is not left waiting', async () => {
    for (const [order, outcome] of [
      ['child first', 'completed'],
      ['parent first', 'completed'],
      ['parent first', 'failed'],
    ] as const) {
      await store.truncateAll();
      await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
      const claimed = await claimAll();
      await settleWith(store, ends(claimed.get('a'), 'failed'));
      expect((await job('root')).state).toBe('failed');
      // Both reach for the child's row: the one that comes first gets it first.
      const lock = await lockRow(db.sql, Q, 'b');
      const settling = () => settleWith(store, ends(claimed.get('b'), outcome));
      const retrying = () => retryOne(other.engine.executor, Q, 'root');
      const first = order === 'child first' ? settling() : retrying();
      await untilWaiting(db.sql, 1);
      const second = order === 'child first' ? retrying() : settling();
      await untilWaiting(db.sql, 2);
      await lock.commit();
      await Promise.all([first, second]);
      expect([order, outcome, (await job('root')).state]).toEqual([
        order,
        outcome,
        outcome === 'failed' ? 'failed' : 'waiting',
      ]);
    }
  });

  test.each(['parent', 'child'])(
    'a child that is retried while its parent is, %s first: both are waited for',
    async (first) => {
      await store.saveFlow(makeFlow(root, [makeChild(root, 'a'), makeChild(root, 'b')]));
      await settleWith(store, ends((await claimAll()).get('a'), 'failed'));
      // Both reach for the child's row: the one that comes first gets it first.
      const lock = await lockRow(db.sql, Q, 'a');
      const retries = [retryOne(store.engine.executor, Q, first === 'parent' ? 'root' : 'a')];
      await untilWaiting(db.sql, 1);
      retries.push(retryOne(other.engine.executor, Q, first === 'parent' ? 'a' : 'root'));
      await untilWaiting(db.sql, 2);
      await lock.commit();
      expect((await Promise.all(retries)).map(({ done }) => done)).toEqual([true, true]);
      expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 2 });
    },
  );

  test('a failing leaf and its cancelled parent do not wait for each other, whatever the order of ids', async () => {
    // The root's id comes first: an order by id alone would lock it before its child.
    const top = makeJob(Q, 'a-root', { state: 'waiting-children', pendingChildrenCount: 1 });
    const mid = makeChild(top, 'b-mid', { state: 'waiting-children', pendingChildrenCount: 1 });
    await store.saveFlow([top, mid, makeChild(mid, 'leaf')].map(inFlow));
    const leaf = (await claimAll()).get('leaf');
    const lock = await lockRow(db.sql, Q, 'a-root');
    const failing = settleWith(store, ends(leaf, 'failed'));
    await untilWaiting(db.sql, 1);
    const cancelling = cancelJob(other.engine.executor, Q, 'b-mid');
    await untilWaiting(db.sql, 2);
    const released = performance.now();
    await lock.commit();
    await Promise.all([failing, cancelling]);
    // A deadlock would be found after a second, and one of the two sent again.
    expect(performance.now() - released).toBeLessThan(900);
    expect(await states()).toEqual({ 'a-root': 'failed', 'b-mid': 'failed', leaf: 'failed' });
  });
});

describe('random trees', () => {
  const save = (nodes: ModelNode[]) =>
    store.saveFlow(
      nodes.map((node) =>
        inFlow(
          makeJob(node.queueName, node.id, {
            ...policy(node.policy),
            state: node.state as JobData['state'],
            pendingChildrenCount: node.pending,
            childrenIds: node.children.map(({ id }) => id),
            ...(node.parent ? { parentId: node.parent.id, parentQueueName: node.parent.queueName } : {}),
          }),
        ),
      ),
    );
  const claimEverything = async () => {
    const maps = await Promise.all(['q0', 'q1', 'q2'].map((queue) => claimAll(queue)));
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
        const settlements = batch.map((id) => ends(held.get(id), random(3) > 0 ? 'completed' : 'failed'));
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
        const { outcomes } = await settleWith(store, ends(held.get(id), 'completed'));
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
          const request = { queueName: `q${own(3)}`, workerId: 'w', lockDuration: 60_000, limit: 3 };
          const batch = (await claim(executor, request)).map((stored) =>
            ends(stored, own(3) > 0 ? 'completed' : 'failed'),
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
      await settleWith(store, ...[...claimed.values()].map((stored) => ends(stored, 'completed')));
    }
    expect(await wrong()).toEqual([]);
    expect((await db.sql`select id from conveyor_jobs where state not in ('completed', 'failed')`).length).toBe(0);
  });
});

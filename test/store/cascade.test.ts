import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ChildFailurePolicy, JobData } from '../../src/model/job.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { sweep } from '../../src/store/lease/sweep.js';
import { getJob } from '../../src/store/read/find.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { childOf, flowOf, inFlow, jobIn } from '../support/rows.js';
import { claimAll, endOf, settleWith, statesOf } from '../support/settling.js';

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
const root = jobIn('waiting', { queueName: Q, id: 'root' });
const policy = (of: ChildFailurePolicy) => ({ opts: { failParentOnChildFailure: of } });

const job = async (id: string, queueName = Q) => (await store.getJob(queueName, id)) as JobData;
const states = () => statesOf(db.sql);

/** root ◀ mid ◀ leaf, each with the given policy. */
async function chain(ofRoot: ChildFailurePolicy, ofMid: ChildFailurePolicy): Promise<void> {
  const top = { ...root, ...policy(ofRoot), state: 'waiting-children' as const, pendingChildrenCount: 1 };
  const mid = childOf(root, 'mid', { ...policy(ofMid), state: 'waiting-children', pendingChildrenCount: 1 });
  await store.saveFlow([top, mid, childOf(mid, 'leaf')].map(inFlow));
}

describe('completed children', () => {
  test('count down, and the last one lets the parent go', async () => {
    await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
    const claimed = await claimAll(store, Q);
    expect((await settleWith(store, endOf(claimed.get('a'), 'completed'))).parents).toEqual([]);
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
    const { parents } = await settleWith(store, endOf(claimed.get('b'), 'completed'));
    expect(parents).toEqual([{ queueName: Q, id: 'root', state: 'waiting', reason: null }]);
    expect(await job('root')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
    expect((await claimAll(store, Q)).has('root')).toBe(true);
  });

  test('both in one batch, and of another queue', async () => {
    await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b', { queueName: 'other' })]));
    const batch = [
      endOf((await claimAll(store, Q)).get('a'), 'completed'),
      endOf((await claimAll(store, 'other')).get('b'), 'completed'),
    ];
    expect((await settleWith(store, ...batch)).parents).toHaveLength(1);
    expect((await job('root')).state).toBe('waiting');
  });

  test('settled twice they count once', async () => {
    await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
    const settlement = endOf((await claimAll(store, Q)).get('a'), 'completed');
    await settleWith(store, settlement);
    expect(await settleWith(store, settlement)).toEqual({ outcomes: [undefined], parents: [] });
    await Promise.all([settleWith(store, settlement), settleWith(other, settlement)]);
    expect((await job('root')).pendingChildrenCount).toBe(1);
  });

  test('retries, delays and releases do not count', async () => {
    await store.saveFlow(flowOf(root, [childOf(root, 'a')]));
    for (const kind of ['retry', 'delayed', 'released'] as const) {
      const { parents } = await settleWith(
        store,
        endOf((await claimAll(store, Q)).get('a'), kind, { delayMs: 0, until: 0 }),
      );
      expect(parents).toEqual([]);
      await store.promoteDelayedJobs(Q, Date.now());
    }
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });

  test('values of children that are removed, now or later, stay with the parent', async () => {
    const ids = ['now', 'later', 'kept', 'failed'];
    await store.saveFlow(
      flowOf(
        { ...root, ...policy('ignore') },
        ids.map((id) => childOf(root, id)),
      ),
    );
    const claimed = await claimAll(store, Q);
    await settleWith(
      store,
      endOf(claimed.get('now'), 'completed', { returnvalue: '{"n":1}', keepCompletedMs: 0 }),
      endOf(claimed.get('later'), 'completed', { returnvalue: 'null', keepCompletedMs: 5_000 }),
      endOf(claimed.get('kept'), 'completed', { keepFailedMs: 0 }),
      endOf(claimed.get('failed'), 'failed', { keepFailedMs: 0 }),
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
      await store.saveFlow(flowOf({ ...root, delayUntil: new Date(Date.now() + ms) }, [childOf(root, 'a')]));
      await settleWith(store, endOf((await claimAll(store, Q)).get('a'), 'completed'));
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
    await settleWith(store, endOf((await claimAll(store, Q)).get('leaf'), 'failed'));
    expect(await states()).toEqual(expected);
  });

  test('the reason reaches the root, and who changed is told', async () => {
    await chain('fail', 'fail');
    const { parents } = await settleWith(store, endOf((await claimAll(store, Q)).get('leaf'), 'failed'));
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
    const mid = childOf(root, 'mid', {
      opts: { removeOnFail: true },
      state: 'waiting-children',
      pendingChildrenCount: 1,
    });
    await store.saveFlow([top, mid, childOf(mid, 'leaf')].map(inFlow));
    const { parents } = await settleWith(store, endOf((await claimAll(store, Q)).get('leaf'), 'failed'));
    expect(parents.map(({ id, state }) => [id, state]).sort()).toEqual([
      ['mid', 'removed'],
      ['root', 'failed'],
    ]);
    expect(await states()).toEqual({ root: 'failed', leaf: 'failed' });
    expect((await db.sql`select remove_at > now() as set from conveyor_jobs where id = 'root'`)[0]?.['set']).toBe(true);
  });

  test('the other children of a failed parent end without an effect', async () => {
    await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
    const claimed = await claimAll(store, Q);
    await settleWith(store, endOf(claimed.get('a'), 'failed'));
    expect((await settleWith(store, endOf(claimed.get('b'), 'completed'))).parents).toEqual([]);
    expect((await job('root')).state).toBe('failed');
  });

  test('mixed levels in one batch', async () => {
    // root(ignore) ◀ mid(fail) ◀ leaf; root ◀ side; root ◀ slow: leaf fails, side completes, slow is still there.
    const top = { ...root, ...policy('ignore'), state: 'waiting-children' as const, pendingChildrenCount: 3 };
    const mid = childOf(root, 'mid', { state: 'waiting-children', pendingChildrenCount: 2 });
    const leaves = [childOf(mid, 'leaf'), childOf(mid, 'twig'), childOf(root, 'side'), childOf(root, 'slow')];
    await store.saveFlow([top, mid, ...leaves].map(inFlow));
    const claimed = await claimAll(store, Q);
    const batch = [
      endOf(claimed.get('leaf'), 'failed'),
      endOf(claimed.get('twig'), 'failed', { reason: 'second' }),
      endOf(claimed.get('side'), 'completed'),
    ];
    expect((await settleWith(store, ...batch)).parents.map(({ id }) => id)).toEqual(['mid']);
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
    await settleWith(store, endOf(claimed.get('slow'), 'completed'));
    expect((await job('root')).state).toBe('waiting');
  });

  test('a parent that is missing, or its own ancestor, stops nobody', async () => {
    await store.saveJob(Q, childOf({ queueName: Q, id: 'nobody' }, 'orphan'));
    const ring = { state: 'waiting-children' as const, pendingChildrenCount: 2 };
    await store.saveJob(Q, childOf({ queueName: Q, id: 'y' }, 'x', ring));
    await store.saveJob(Q, childOf({ queueName: Q, id: 'x' }, 'y', ring));
    await store.saveJob(Q, childOf({ queueName: Q, id: 'x' }, 'leaf'));
    const claimed = await claimAll(store, Q);
    await settleWith(store, endOf(claimed.get('orphan'), 'failed'), endOf(claimed.get('leaf'), 'failed'));
    expect(await states()).toEqual({ orphan: 'failed', leaf: 'failed', x: 'failed', y: 'failed' });
  });

  test('a chain of 150 levels fails up to its root', async () => {
    const links = Array.from({ length: 150 }, (_, i) =>
      jobIn(i < 149 ? 'waiting-children' : 'waiting', {
        queueName: Q,
        id: `n${i}`,
        ...(i > 0 ? { parentId: `n${i - 1}`, parentQueueName: Q } : {}),
      }),
    );
    await store.saveFlow(links.map(inFlow));
    const { parents } = await settleWith(store, endOf((await claimAll(store, Q)).get('n149'), 'failed'));
    expect(parents).toHaveLength(149);
    expect(new Set(Object.values(await states()))).toEqual(new Set(['failed']));
  });
});

describe('sweep', () => {
  /** The handlers had started. */
  const expire = () => db.sql`update conveyor_jobs set lock_until = now() - interval '1 second', started_lease = lease,
    started_alone = true where state = 'active'`;

  test('a child that stalled too often fails, and its parents with it', async () => {
    await chain('ignore', 'fail');
    await claimAll(store, Q);
    await expire();
    expect((await sweep(store.engine.executor, Q, 1)).parents).toEqual([]);
    expect(await states()).toEqual({ root: 'waiting-children', mid: 'waiting-children', leaf: 'waiting' });
    await claimAll(store, Q);
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
      flowOf(
        { ...root, ...policy('ignore') },
        ['a', 'b', 'c'].map((id) => childOf(root, id)),
      ),
    );
    await claimAll(store, Q);
    await expire();
    await db.sql`update conveyor_jobs set lock_until = now() + interval '1 hour' where id = 'c'`;
    const swept = await Promise.all([store, other].map((by) => sweep(by.engine.executor, Q, 0)));
    expect(swept.flatMap(({ jobs }) => jobs)).toHaveLength(2);
    expect(await job('root')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });
});

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JobData } from '../../src/model/job.js';
import { cancelJob, removeOne } from '../../src/store/change/end.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { sweep } from '../../src/store/lease/sweep.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { lockRow, untilWaiting } from '../support/held.js';
import { childOf, flowOf, inFlow, jobIn } from '../support/rows.js';
import { claimSome, endOf, settleWith } from '../support/settling.js';

const db = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = await openStore(db.url);
});
afterAll(() => store.disconnect());
beforeEach(() => store.truncateAll());

const Q = 'q';
const executor = () => store.engine.executor;
const save = (id: string, fields: Partial<JobData> = {}) =>
  store.saveJob(Q, jobIn(fields.state ?? 'waiting', { id, ...fields }));
const read = async (id = 'a') => (await store.getJob(Q, id)) as JobData;
const ids = async () => (await db.sql`select id from conveyor_jobs order by id`).map(({ id }) => id);
const columns = async (id = 'a') =>
  (await db.sql`select lease, seq::int, priority, remove_at, stalled_count from conveyor_jobs where id = ${id}`)[0] as {
    lease: number;
    seq: number;
    priority: number;
    remove_at: Date | null;
    stalled_count: number;
  };
const claimOne = async () => (await claimSome(store, Q, 1))[0] as StoredJob;
const complete = (stored: StoredJob) => settleWith(store, endOf(stored, 'completed'));
const parent = jobIn('waiting', { queueName: Q, id: 'parent' });

describe('cancelJob', () => {
  test.each(['waiting', 'delayed', 'waiting-children'] as const)('%s: failed as cancelled', async (state) => {
    await save('a', { state, delayUntil: new Date(), opts: { removeOnFail: 60_000 } });
    expect(await cancelJob(executor(), Q, 'a')).toEqual({ outcome: 'ended', state, parents: [] });
    const job = await read();
    expect(job).toMatchObject({ state: 'failed', failedReason: 'Job cancelled', delayUntil: null });
    expect(job.cancelledAt).not.toBeNull();
    expect(job.failedAt).toEqual(job.cancelledAt);
    expect((await columns()).remove_at).not.toBeNull();
  });

  test('active: marked, and its end is that of a cancelled job', async () => {
    await save('a');
    const claimed = await claimOne();
    expect(await cancelJob(executor(), Q, 'a')).toEqual({ outcome: 'signalled', state: 'active', parents: [] });
    const { cancelledAt, state } = await read();
    expect(state).toBe('active');
    expect((await cancelJob(executor(), Q, 'a')).outcome).toBe('signalled');
    expect((await read()).cancelledAt).toEqual(cancelledAt);
    await complete(claimed);
    expect(await read()).toMatchObject({ state: 'failed', failedReason: 'Job cancelled', returnvalue: null });
  });

  test('a cancelled job whose worker died does not run again', async () => {
    await save('a');
    await claimOne();
    await cancelJob(executor(), Q, 'a');
    await db.sql`update conveyor_jobs set lock_until = now() - interval '1 second'`;
    await sweep(executor(), Q, 5);
    expect(await read()).toMatchObject({ state: 'failed', failedReason: 'Job cancelled' });
  });

  test.each(['completed', 'failed'] as const)('%s: not any more', async (state) => {
    await save('a', { state });
    const before = await read();
    expect(await cancelJob(executor(), Q, 'a')).toEqual({ outcome: 'not-cancellable', state, parents: [] });
    expect(await read()).toEqual(before);
  });

  test('claimed while the cancellation waits for the row: it is told, not failed', async () => {
    await save('a');
    const lock = await lockRow(db.sql, Q, 'a');
    const cancelling = cancelJob(executor(), Q, 'a');
    await untilWaiting(db.sql);
    await lock.sql`update conveyor_jobs set state = 'active', lease = 1, locked_by = 'x', lock_until = now() + interval '1 minute'`;
    await lock.commit();
    expect((await cancelling).outcome).toBe('signalled');
    expect((await read()).state).toBe('active');
    expect((await read()).cancelledAt).not.toBeNull();
  });

  test('50 jobs cancelled while two workers take them: none runs that was ended, none is missed', async () => {
    const all = Array.from({ length: 50 }, (_, i) => `j${i}`);
    await store.saveBulk(
      Q,
      all.map((id) => jobIn('waiting', { id })),
    );
    const claimed: StoredJob[] = [];
    const work = async () => {
      for (let job = await claimOne(); job; job = await claimOne()) claimed.push(job);
    };
    const [, , ...answers] = await Promise.all([work(), work(), ...all.map((id) => cancelJob(executor(), Q, id))]);
    const told = all.filter((_, i) => answers[i]?.outcome === 'signalled');
    const over = all.filter((_, i) => answers[i]?.outcome === 'ended');
    expect(claimed.map(({ job }) => job.id).sort()).toEqual(told.sort());
    expect(told.length + over.length).toBe(50);
    for (const job of claimed) await complete(job);
    expect((await db.sql`select 1 from conveyor_jobs where state = 'failed' and cancelled_at is not null`).length).toBe(
      50,
    );
  });

  test('the parent hears of it; with removeOnFail the job is gone', async () => {
    await store.saveFlow(flowOf(parent, [childOf(parent, 'a', { opts: { removeOnFail: true } })]));
    const { outcome, parents } = await cancelJob(executor(), Q, 'a');
    expect(outcome).toBe('ended');
    expect(parents).toEqual([{ queueName: Q, id: 'parent', state: 'failed', reason: 'Child failed: Job cancelled' }]);
    expect(await ids()).toEqual(['parent']);
  });

  test('a parent that is cancelled tells its own', async () => {
    const top = { ...parent, opts: { failParentOnChildFailure: 'ignore' as const } };
    const mid = childOf(parent, 'mid', { state: 'waiting-children', pendingChildrenCount: 1 });
    await store.saveFlow([...flowOf(top, [mid]), inFlow(childOf(mid, 'leaf'))]);
    const { parents } = await cancelJob(executor(), Q, 'mid');
    expect(parents).toMatchObject([{ id: 'parent', state: 'waiting' }]);
    await complete(await claimOne());
    expect((await read('mid')).state).toBe('failed');
  });
});

describe('removeOne', () => {
  test('an active job is lost to its worker', async () => {
    await save('a');
    const claimed = await claimOne();
    expect(await removeOne(executor(), Q, 'a')).toEqual({ found: 'active', done: true, became: null, parents: [] });
    expect((await complete(claimed)).outcomes).toEqual([undefined]);
  });

  test.each([
    ['fail', 'failed'],
    ['ignore', 'waiting'],
    ['remove', 'removed'],
  ] as const)('a parent under %s hears of an unfinished child', async (policy, state) => {
    const opts = { failParentOnChildFailure: policy };
    await store.saveFlow(flowOf({ ...parent, opts }, [childOf(parent, 'a')]));
    const { parents } = await removeOne(executor(), Q, 'a');
    expect(parents).toMatchObject([{ id: 'parent', state }]);
    expect(await store.getJob(Q, 'a')).toBeNull();
  });

  test('a child that had ended counts no second time', async () => {
    await store.saveFlow(flowOf(parent, [childOf(parent, 'a'), childOf(parent, 'b')]));
    await complete(await claimOne());
    expect((await removeOne(executor(), Q, 'a')).parents).toEqual([]);
    expect(await read('parent')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });

  test('completed while the removal waits: counted as completed', async () => {
    await store.saveFlow(flowOf(parent, [childOf(parent, 'a'), childOf(parent, 'b')]));
    const claimed = await claimOne();
    const lock = await lockRow(db.sql, Q, 'a');
    const completing = complete(claimed);
    await untilWaiting(db.sql, 1);
    const removing = removeOne(executor(), Q, 'a');
    await untilWaiting(db.sql, 2);
    await lock.commit();
    await completing;
    expect(await removing).toEqual({ found: 'completed', done: true, became: null, parents: [] });
    expect(await read('parent')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });
});

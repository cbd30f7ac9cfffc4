import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JobData } from '../../src/model/job.js';
import { failOne } from '../../src/store/change/end.js';
import { retryOne } from '../../src/store/change/retry.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { childOf, flowOf, insertRow, jobIn } from '../support/rows.js';
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
const columns = async (id = 'a') =>
  (await db.sql`select lease, seq::int, priority, remove_at, stalled_count from conveyor_jobs where id = ${id}`)[0] as {
    lease: number;
    seq: number;
    priority: number;
    remove_at: Date | null;
    stalled_count: number;
  };
const claimOne = async () => (await claimSome(store, Q, 1))[0] as StoredJob;
const fenceOf = ({ lease }: StoredJob) => ({ lease, workerId: 'w' });
const complete = (stored: StoredJob) => settleWith(store, endOf(stored, 'completed'));
const parent = jobIn('waiting', { queueName: Q, id: 'parent' });

describe('retryOne', () => {
  const time = new Date();
  const spent: Partial<JobData> = {
    state: 'failed',
    attemptsMade: 3,
    progress: 60,
    returnvalue: 1,
    failedReason: 'x',
    failedAt: time,
    completedAt: time,
    processedAt: time,
    cancelledAt: time,
    delayUntil: time,
    lockUntil: time,
    lockedBy: 'w',
    stacktrace: ['x'],
    discarded: true,
  };

  test('starts over, behind the others of its priority', async () => {
    await save('a', { ...spent, logs: ['kept'], opts: { attempts: 3, removeOnFail: 5 } });
    await db.sql`update conveyor_jobs set stalled_count = 4, remove_at = now()`;
    await save('b');
    expect(await retryOne(executor(), Q, 'a')).toEqual({ found: 'failed', done: true, became: 'waiting', parents: [] });
    expect(await read()).toMatchObject({
      ...Object.fromEntries(Object.keys(spent).map((field) => [field, null])),
      state: 'waiting',
      attemptsMade: 0,
      progress: 0,
      stacktrace: [],
      discarded: false,
      logs: ['kept'],
    });
    expect(await columns()).toMatchObject({ stalled_count: 0, remove_at: null });
    expect([(await claimOne()).job.id, (await claimOne()).job.id]).toEqual(['b', 'a']);
  });

  test('twice at once: one of them does it', async () => {
    await save('a', spent);
    const answers = await Promise.all([retryOne(executor(), Q, 'a'), retryOne(executor(), Q, 'a')]);
    expect(answers.map(({ done }) => done).sort()).toEqual([false, true]);
    expect(answers.find(({ done }) => !done)?.found).toBe('waiting');
  });

  test('a parent waits for the children that have not ended', async () => {
    await store.saveFlow(
      flowOf(
        parent,
        ['a', 'b', 'c'].map((id) => childOf(parent, id)),
      ),
    );
    const [a, b] = [await claimOne(), await claimOne()];
    await failOne(executor(), Q, 'a', 'boom', null, fenceOf(a));
    expect((await read('parent')).state).toBe('failed');
    expect((await retryOne(executor(), Q, 'parent')).became).toBe('waiting-children');
    expect((await read('parent')).pendingChildrenCount).toBe(2);
    await complete(b);
    await complete(await claimOne());
    expect((await read('parent')).state).toBe('waiting');
  });

  test('without unfinished children it waits for nobody', async () => {
    await store.saveFlow(flowOf(parent, [childOf(parent, 'a')]));
    await failOne(executor(), Q, 'a', 'boom', null, null);
    expect((await retryOne(executor(), Q, 'parent')).became).toBe('waiting');
  });

  test('an ignored child that is retried is waited for again', async () => {
    const ignoring = { ...parent, opts: { failParentOnChildFailure: 'ignore' as const } };
    await store.saveFlow(flowOf(ignoring, [childOf(parent, 'a'), childOf(parent, 'b')]));
    const [a, b] = [await claimOne(), await claimOne()];
    await failOne(executor(), Q, 'a', 'boom', null, fenceOf(a));
    expect((await read('parent')).pendingChildrenCount).toBe(1);
    await retryOne(executor(), Q, 'a');
    expect((await read('parent')).pendingChildrenCount).toBe(2);
    await complete(b);
    expect((await read('parent')).state).toBe('waiting-children');
    await complete(await claimOne());
    expect((await read('parent')).state).toBe('waiting');
  });

  test('a parent that runs already is not touched', async () => {
    const ignoring = { ...parent, opts: { failParentOnChildFailure: 'ignore' as const } };
    await store.saveFlow(flowOf(ignoring, [childOf(parent, 'a')]));
    await failOne(executor(), Q, 'a', 'boom', null, null);
    await retryOne(executor(), Q, 'a');
    expect(await read('parent')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
  });

  test('gives its deduplication key up when somebody else holds it, or takes it meanwhile', async () => {
    await save('a', { ...spent, deduplicationKey: 'k' });
    await save('b', { deduplicationKey: 'k' });
    await retryOne(executor(), Q, 'a');
    expect((await read()).deduplicationKey).toBeNull();

    await save('c', { ...spent, deduplicationKey: 'l' });
    const other = await openTransaction(db.sql);
    await insertRow(other.sql, { queue_name: Q, id: 'd', deduplication_key: 'l' });
    const retrying = retryOne(executor(), Q, 'c');
    await untilWaiting(db.sql);
    await other.commit();
    expect((await retrying).done).toBe(true);
    expect((await read('c')).deduplicationKey).toBeNull();
    expect((await store.findByDeduplicationKey(Q, 'l'))?.id).toBe('d');
  });

  test('keeps its key when nobody holds it', async () => {
    await save('a', { ...spent, deduplicationKey: 'k' });
    await retryOne(executor(), Q, 'a');
    expect((await read()).deduplicationKey).toBe('k');
  });
});

describe('failOne', () => {
  test('an active job: its attempt is on record, its worker is out', async () => {
    await save('a');
    const claimed = await claimOne();
    expect(await failOne(executor(), Q, 'a', 'boom \0', 'at \0', null)).toMatchObject({ found: 'active', done: true });
    expect(await read()).toMatchObject({
      state: 'failed',
      failedReason: 'boom \ufffd',
      stacktrace: ['at \ufffd'],
      attemptsMade: 1,
      lockUntil: null,
      attemptLogs: [
        { attempt: 1, status: 'failed', error: 'boom \ufffd', startedAt: claimed.job.processedAt?.toISOString() },
      ],
    });
    expect((await complete(claimed)).outcomes).toEqual([undefined]);
    expect((await read()).state).toBe('failed');
  });

  test('a job that has not begun made no attempt', async () => {
    await save('a', { state: 'delayed', delayUntil: new Date(Date.now() + 1e6) });
    await failOne(executor(), Q, 'a', 'boom', null, null);
    expect(await read()).toMatchObject({
      state: 'failed',
      attemptsMade: 0,
      attemptLogs: [],
      stacktrace: [],
      delayUntil: null,
    });
  });

  test('with a fence only the holder', async () => {
    await save('a');
    const claimed = await claimOne();
    const { lease } = claimed;
    for (const fence of [
      { lease: lease + 1, workerId: 'w' },
      { lease, workerId: 'x' },
    ]) {
      expect(await failOne(executor(), Q, 'a', 'x', null, fence)).toMatchObject({ found: 'active', done: false });
    }
    expect((await failOne(executor(), Q, 'a', 'x', null, fenceOf(claimed))).done).toBe(true);
    await save('b');
    expect(await failOne(executor(), Q, 'b', 'x', null, { lease: 0, workerId: 'w' })).toMatchObject({ done: false });
  });

  test('ancestors hear of it, metrics count it', async () => {
    await store.saveFlow(flowOf(parent, [childOf(parent, 'a'), childOf(parent, 'b')]));
    await claimOne();
    const { parents } = await failOne(executor(), Q, 'a', 'boom', null, null, 5);
    expect(parents).toEqual([{ queueName: Q, id: 'parent', state: 'failed', reason: 'Child failed: boom' }]);
    await failOne(executor(), Q, 'b', 'boom', null, null, 5);
    const metrics = await db.sql`select job_name, shard, failed_count::int as n from conveyor_metrics order by 1`;
    expect(metrics).toEqual([
      { job_name: '__all__', shard: 5, n: 1 },
      { job_name: 'job', shard: 5, n: 1 },
    ]);
  });
});

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { JOB_STATES, type JobData, type JobState } from '../../src/model/job.js';
import {
  cancelJob,
  changeDelay,
  changePriority,
  clearLogs,
  delayOne,
  discardOne,
  failOne,
  promoteOne,
  removeOne,
  retryOne,
  updateData,
} from '../../src/store/change/job-verbs.js';
import { claim } from '../../src/store/claim/claim.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { sweep } from '../../src/store/lease/renew.js';
import type { StoredJob } from '../../src/store/rows/job-row.js';
import { settle } from '../../src/store/settle/settle.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { inFlow, lockRow, makeChild, makeFlow, makeJob, openStore } from './make-job.js';

const db = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = await openStore(db.url);
});
afterAll(() => store.disconnect());
beforeEach(() => store.truncateAll());

const Q = 'q';
const LIVE: JobState[] = ['waiting', 'waiting-children', 'delayed', 'active'];
const executor = () => store.engine.executor;
const save = (id: string, fields: Partial<JobData> = {}) => store.saveJob(Q, makeJob(Q, id, fields));
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
const claimOne = async () => {
  const request = { queueName: Q, workerId: 'w', lockDuration: 60_000, limit: 1 };
  return (await claim(executor(), request))[0] as StoredJob;
};
const fenceOf = ({ lease }: StoredJob) => ({ lease, workerId: 'w' });
const complete = ({ job, lease }: StoredJob) =>
  settle(
    executor(),
    [
      {
        queueName: Q,
        id: job.id,
        lease,
        workerId: 'w',
        kind: 'completed',
        returnvalue: '1',
        hasParent: job.parentId !== null,
      },
    ],
    { metrics: false, shard: 0 },
  );
const missing = { found: null, done: false, became: null, parents: [] };
const parent = makeJob(Q, 'parent');

test('a job that does not exist', async () => {
  expect(await cancelJob(executor(), Q, 'a')).toEqual({ outcome: 'missing', state: null, parents: [] });
  const answers = [
    removeOne(executor(), Q, 'a'),
    retryOne(executor(), Q, 'a'),
    failOne(executor(), Q, 'a', 'x', null, null),
    delayOne(executor(), Q, 'a', 0, null),
    promoteOne(executor(), Q, 'a'),
    changeDelay(executor(), Q, 'a', 1),
    changePriority(executor(), Q, 'a', 1),
    updateData(executor(), Q, 'a', '1'),
    discardOne(executor(), Q, 'a'),
    clearLogs(executor(), Q, 'a', 0),
  ];
  for (const answer of answers) expect(await answer).toEqual(missing);
});

test.each([
  ['promoteOne', (id: string) => promoteOne(executor(), Q, id), ['delayed']],
  ['changeDelay', (id: string) => changeDelay(executor(), Q, id, 1000), ['delayed']],
  ['delayOne', (id: string) => delayOne(executor(), Q, id, 1e12, null), ['waiting', 'delayed']],
  ['changePriority', (id: string) => changePriority(executor(), Q, id, 3), LIVE],
  ['updateData', (id: string) => updateData(executor(), Q, id, '{"x":1}'), LIVE],
  ['discardOne', (id: string) => discardOne(executor(), Q, id), LIVE],
  ['failOne', (id: string) => failOne(executor(), Q, id, 'x', null, null), LIVE],
  ['retryOne', (id: string) => retryOne(executor(), Q, id), ['failed']],
  ['clearLogs', (id: string) => clearLogs(executor(), Q, id, 0), [...JOB_STATES]],
  ['removeOne', (id: string) => removeOne(executor(), Q, id), [...JOB_STATES]],
])('%s acts on jobs in its states and no others, and says what it found', async (_name, verb, allowed) => {
  for (const state of JOB_STATES) {
    await save(state, { state, data: 'as it was' });
    const before = await read(state);
    const { found, done } = await verb(state);
    expect([state, found, done]).toEqual([state, state, (allowed as string[]).includes(state)]);
    if (!done) expect(await read(state)).toEqual(before);
  }
});

describe('cancelJob', () => {
  test.each(['waiting', 'delayed', 'waiting-children'] as const)('%s: failed as cancelled', async (state) => {
    await save('a', { state, delayUntil: new Date(), opts: { removeOnFail: 60_000 } });
    expect(await cancelJob(executor(), Q, 'a')).toEqual({ outcome: 'ended', state, parents: [] });
    const job = await read();
    expect(job).toMatchObject({ state: 'failed', failedReason: 'Job was cancelled', delayUntil: null });
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
    expect(await read()).toMatchObject({ state: 'failed', failedReason: 'Job was cancelled', returnvalue: null });
  });

  test('a cancelled job whose worker died does not run again', async () => {
    await save('a');
    await claimOne();
    await cancelJob(executor(), Q, 'a');
    await db.sql`update conveyor_jobs set lock_until = now() - interval '1 second'`;
    await sweep(executor(), Q, 5);
    expect(await read()).toMatchObject({ state: 'failed', failedReason: 'Job was cancelled' });
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
      all.map((id) => makeJob(Q, id)),
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
    await store.saveFlow(makeFlow(parent, [makeChild(parent, 'a', { opts: { removeOnFail: true } })]));
    const { outcome, parents } = await cancelJob(executor(), Q, 'a');
    expect(outcome).toBe('ended');
    expect(parents).toEqual([
      { queueName: Q, id: 'parent', state: 'failed', reason: 'Child failed: Job was cancelled' },
    ]);
    expect(await ids()).toEqual(['parent']);
  });

  test('a parent that is cancelled tells its own', async () => {
    const top = { ...parent, opts: { failParentOnChildFailure: 'ignore' as const } };
    const mid = makeChild(parent, 'mid', { state: 'waiting-children', pendingChildrenCount: 1 });
    await store.saveFlow([...makeFlow(top, [mid]), inFlow(makeChild(mid, 'leaf'))]);
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
    await store.saveFlow(makeFlow({ ...parent, opts }, [makeChild(parent, 'a')]));
    const { parents } = await removeOne(executor(), Q, 'a');
    expect(parents).toMatchObject([{ id: 'parent', state }]);
    expect(await store.getJob(Q, 'a')).toBeNull();
  });

  test('a child that had ended counts no second time', async () => {
    await store.saveFlow(makeFlow(parent, [makeChild(parent, 'a'), makeChild(parent, 'b')]));
    await complete(await claimOne());
    expect((await removeOne(executor(), Q, 'a')).parents).toEqual([]);
    expect(await read('parent')).toMatchObject({ state: 'waiting-children', pendingChildrenCount: 1 });
  });

  test('completed while the removal waits: counted as completed', async () => {
    await store.saveFlow(makeFlow(parent, [makeChild(parent, 'a'), makeChild(parent, 'b')]));
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
      makeFlow(
        parent,
        ['a', 'b', 'c'].map((id) => makeChild(parent, id)),
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
    await store.saveFlow(makeFlow(parent, [makeChild(parent, 'a')]));
    await failOne(executor(), Q, 'a', 'boom', null, null);
    expect((await retryOne(executor(), Q, 'parent')).became).toBe('waiting');
  });

  test('an ignored child that is retried is waited for again', async () => {
    const ignoring = { ...parent, opts: { failParentOnChildFailure: 'ignore' as const } };
    await store.saveFlow(makeFlow(ignoring, [makeChild(parent, 'a'), makeChild(parent, 'b')]));
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
    await store.saveFlow(makeFlow(ignoring, [makeChild(parent, 'a')]));
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
    await other.sql`insert into conveyor_jobs (queue_name, id, name, state, data, deduplication_key)
      values (${Q}, 'd', 'x', 'waiting', '1', 'l')`;
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
    await store.saveFlow(makeFlow(parent, [makeChild(parent, 'a'), makeChild(parent, 'b')]));
    await claimOne();
    const { parents } = await failOne(executor(), Q, 'a', 'boom', null, null, 5);
    expect(parents).toEqual([{ queueName: Q, id: 'parent', state: 'failed', reason: 'Child failed: boom' }]);
    await failOne(executor(), Q, 'b', 'boom', null, null, 5);
    const metrics = await db.sql`select job_name, shard, failed_count::int as n from conveyor_metrics order by 1`;
    expect(metrics).toEqual([
      { job_name: '__all__', shard: 5, n: 1 },
      { job_name: 'work', shard: 5, n: 1 },
    ]);
  });
});

describe('delayOne', () => {
  const until = Date.now() + 3_600_000;

  test('a waiting job: later, behind the others', async () => {
    await save('a');
    await save('b');
    expect(await delayOne(executor(), Q, 'a', until, null)).toMatchObject({ found: 'waiting', became: 'delayed' });
    expect(await read()).toMatchObject({ state: 'delayed', delayUntil: new Date(until) });
    await store.promoteJobs(Q);
    expect((await claimOne()).job.id).toBe('b');
  });

  test('an active job by its holder, who holds it no more', async () => {
    await save('a');
    const claimed = await claimOne();
    expect((await delayOne(executor(), Q, 'a', until, null)).done).toBe(false);
    expect((await delayOne(executor(), Q, 'a', until, { lease: 7, workerId: 'w' })).done).toBe(false);
    expect((await delayOne(executor(), Q, 'a', until, fenceOf(claimed))).done).toBe(true);
    expect(await read()).toMatchObject({ state: 'delayed', lockUntil: null, lockedBy: null, attemptsMade: 0 });
    expect((await columns()).lease).toBe(claimed.lease + 1);
    expect((await delayOne(executor(), Q, 'a', until, fenceOf(claimed))).done).toBe(false);
  });

  test('a cancelled one is not put off', async () => {
    await save('a');
    const claimed = await claimOne();
    await cancelJob(executor(), Q, 'a');
    expect((await delayOne(executor(), Q, 'a', until, fenceOf(claimed))).done).toBe(false);
  });
});

describe('the rest', () => {
  test('promoteOne', async () => {
    await save('a', { state: 'delayed', delayUntil: new Date(Date.now() + 1e6) });
    expect(await promoteOne(executor(), Q, 'a')).toMatchObject({ done: true, became: 'waiting' });
    expect((await read()).delayUntil).toBeNull();
    expect((await claimOne()).job.id).toBe('a');
  });

  test('changeDelay counts from now', async () => {
    await save('a', { state: 'delayed', delayUntil: new Date(0) });
    await changeDelay(executor(), Q, 'a', 60_000);
    expect(Math.abs(Number((await read()).delayUntil) - Date.now() - 60_000)).toBeLessThan(5_000);
  });

  test('changePriority moves the job, keeps its age, and shows in its options', async () => {
    for (const id of ['a', 'b', 'c']) await save(id, { opts: { attempts: 2, priority: 5 } });
    const { seq } = await columns('c');
    await changePriority(executor(), Q, 'c', -1);
    await changePriority(executor(), Q, 'b', -1);
    expect(await columns('c')).toMatchObject({ seq, priority: -1 });
    expect((await read('c')).opts).toEqual({ attempts: 2, priority: -1 });
    expect([(await claimOne()).job.id, (await claimOne()).job.id]).toEqual(['b', 'c']);
  });

  test('updateData, discardOne', async () => {
    await save('a');
    await updateData(executor(), Q, 'a', '"10.5"');
    await discardOne(executor(), Q, 'a');
    expect(await read()).toMatchObject({ data: '10.5', discarded: true });
  });

  test.each([
    [0, []],
    [2, ['c', 'd']],
    [4, ['a', 'b', 'c', 'd']],
    [9, ['a', 'b', 'c', 'd']],
  ])('clearLogs keeps the newest %i', async (keep, left) => {
    await save('a', { logs: ['a', 'b', 'c', 'd'] });
    await clearLogs(executor(), Q, 'a', keep);
    expect((await read()).logs).toEqual(left);
  });

  test('columns changed by hand to nonsense stop nobody', async () => {
    await save('a', { state: 'failed' });
    await save('b');
    await db.sql`update conveyor_jobs set opts = '"?"', logs = '{}'`;
    expect((await clearLogs(executor(), Q, 'a', 1)).done).toBe(true);
    expect((await retryOne(executor(), Q, 'a')).done).toBe(true);
    expect((await changePriority(executor(), Q, 'a', 1)).done).toBe(true);
    expect((await cancelJob(executor(), Q, 'b')).outcome).toBe('ended');
    expect((await removeOne(executor(), Q, 'b')).done).toBe(true);
  });
});

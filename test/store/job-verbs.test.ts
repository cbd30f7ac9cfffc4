import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { JOB_STATES, type JobData, type JobState } from '../../src/model/job.js';
import { cancelJob, failOne, removeOne } from '../../src/store/change/end.js';
import { changeDelay, changePriority, delayOne, discardOne, updateData } from '../../src/store/change/job-verbs.js';
import { clearLogs } from '../../src/store/change/log-and-progress.js';
import { promoteOne } from '../../src/store/change/promote.js';
import { retryOne } from '../../src/store/change/retry.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { jobIn } from '../support/rows.js';
import { claimSome } from '../support/settling.js';

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
const missing = { found: null, done: false, became: null, parents: [] };

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
  ['delayOne', (id: string) => delayOne(executor(), Q, id, 1e12, null), ['active']],
  ['changePriority', (id: string) => changePriority(executor(), Q, id, 3), ['waiting', 'delayed']],
  ['updateData', (id: string) => updateData(executor(), Q, id, '{"x":1}'), LIVE],
  ['discardOne', (id: string) => discardOne(executor(), Q, id), ['active']],
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

describe('delayOne', () => {
  const until = Date.now() + 3_600_000;

  test('an active job by anybody: later, behind the others, and its worker holds it no more', async () => {
    await save('a');
    await save('b');
    const { lease } = await claimOne();
    expect(await delayOne(executor(), Q, 'a', until, null)).toMatchObject({ found: 'active', became: 'delayed' });
    expect(await read()).toMatchObject({
      state: 'delayed',
      delayUntil: new Date(until),
      lockedBy: null,
      attemptsMade: 0,
    });
    expect((await columns()).lease).toBe(lease + 1);
    await store.promoteJobs(Q);
    expect((await claimOne()).job.id).toBe('b');
  });

  test('an active job by its holder, who holds it no more', async () => {
    await save('a');
    const claimed = await claimOne();
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
    expect((await delayOne(executor(), Q, 'a', until, null)).done).toBe(false);
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
    await save('a', { state: 'active' });
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

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { JOB_STATES, type JobData } from '../../src/model/job.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { lockRow, openTransaction, untilWaiting } from '../support/held.js';
import { insertRow, jobIn } from '../support/rows.js';

const db = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = await openStore(db.url);
});
afterAll(() => store.disconnect());
beforeEach(() => store.truncateAll());

const Q = 'q';
const save = (id: string, fields: Partial<JobData> = {}) =>
  store.saveJob(Q, jobIn(fields.state ?? 'waiting', { id, ...fields }));
const read = async (id = 'a') => (await store.getJob(Q, id)) as JobData;
const extra = async (id = 'a') =>
  (await db.sql`select lease, seq::int, priority, remove_at from conveyor_jobs where id = ${id}`)[0] as {
    lease: number;
    seq: number;
    priority: number;
    remove_at: Date | null;
  };

describe('columns of its own', () => {
  test.each(JOB_STATES)('from %s back to waiting: the place stays, and an old lease is void', async (state) => {
    await save('a', { state });
    const before = await extra();
    await store.updateJob(Q, 'a', { state: 'waiting' });
    expect(await extra()).toEqual({ ...before, lease: state === 'active' ? before.lease + 1 : before.lease });
  });

  test('opts set the priority, an absent result is no value', async () => {
    await save('a', { opts: { priority: 3 }, returnvalue: 1 });
    await store.updateJob(Q, 'a', { opts: { priority: -7 }, returnvalue: null });
    expect((await extra()).priority).toBe(-7);
    expect((await db.sql`select returnvalue is null as none from conveyor_jobs`)[0]?.['none']).toBe(true);
  });
});

describe('races', () => {
  test('a job that changes while the update waits for it: the new state counts', async () => {
    await save('a');
    const lock = await lockRow(db.sql, Q, 'a');
    const update = store.updateJob(Q, 'a', { state: 'completed' }, { expectedState: 'waiting' });
    update.catch(() => {});
    await untilWaiting(db.sql);
    await lock.sql`update conveyor_jobs set state = 'active'`;
    await lock.commit();
    await expect(update).rejects.toMatchObject({ currentState: 'active' });
    expect((await read()).state).toBe('active');
  });

  test('a job that is removed while the update waits for it: silent', async () => {
    await save('a');
    const lock = await lockRow(db.sql, Q, 'a');
    const update = store.updateJob(Q, 'a', { progress: 5 });
    await untilWaiting(db.sql);
    await lock.sql`delete from conveyor_jobs`;
    await lock.commit();
    await update;
    expect(await store.getJob(Q, 'a')).toBeNull();
  });

  test('the holder commits while the update waits for it', async () => {
    await save('old', { state: 'failed', deduplicationKey: 'k' });
    const other = await openTransaction(db.sql);
    await insertRow(other.sql, { queue_name: Q, id: 'new', deduplication_key: 'k' });
    const update = store.updateJob(Q, 'old', { state: 'waiting' });
    await untilWaiting(db.sql);
    await other.commit();
    await update;
    expect(await read('old')).toMatchObject({ state: 'waiting', deduplicationKey: null });
  });
});

describe('states', () => {
  test('the doorbell rings when the job became waiting, and not otherwise', async () => {
    const heard: (number | null)[] = [];
    const stop = store.engine.notifier.onWake(Q, (due) => heard.push(due));
    await save('a', { state: 'active' });
    await store.updateJob(Q, 'a', { progress: 3 });
    await store.updateJob(Q, 'a', { state: 'waiting' });
    await store.updateJob(Q, 'a', { state: 'waiting', progress: 4 });
    expect(heard).toEqual([null]);
    await store.updateJob(Q, 'a', { state: 'delayed', delayUntil: new Date(Date.now() + 5000) });
    expect(heard).toHaveLength(2);
    expect(heard[1]).toBeGreaterThan(3000);
    stop();
  });

  test('removal after a time is set as the job ends, and unset when it comes back', async () => {
    await save('a', { state: 'active', opts: { removeOnComplete: 60_000, removeOnFail: 1000 } });
    await store.updateJob(Q, 'a', { state: 'completed' });
    const { remove_at: first } = await extra();
    expect(Number(first) - Date.now()).toBeGreaterThan(50_000);
    await store.updateJob(Q, 'a', { progress: 100 });
    expect((await extra()).remove_at).toEqual(first);
    await store.updateJob(Q, 'a', { state: 'waiting' });
    expect((await extra()).remove_at).toBeNull();
    await store.updateJob(Q, 'a', { state: 'failed', opts: { removeOnFail: true } });
    expect((await extra()).remove_at).toBeNull();
  });
});

describe('metrics', () => {
  let metered: PgStore;
  beforeAll(async () => {
    metered = await openStore(db.url, { metrics: true });
  });
  afterAll(() => metered.disconnect());
  const buckets = () =>
    db.sql`select job_name, completed_count::int as done, failed_count::int as failed, total_process_ms::int as ms,
      min_process_ms::int as min, max_process_ms::int as max from conveyor_metrics order by job_name`;
  // A minute begins with it: what ends soon after goes into one bucket.
  const began = new Date(Math.floor(Date.now() / 60_000 - 1) * 60_000);
  const later = (ms: number) => new Date(began.getTime() + ms);

  test('the end of a job is counted once, with the time it took', async () => {
    await save('a', { state: 'active', processedAt: began });
    await metered.updateJob(Q, 'a', { state: 'completed', completedAt: later(1500) });
    await metered.updateJob(Q, 'a', { state: 'completed', completedAt: later(9999) });
    await metered.updateJob(Q, 'a', { progress: 100 });
    await save('b', { state: 'active', processedAt: null });
    await metered.updateJob(Q, 'b', { state: 'failed', failedAt: later(500), processedAt: began });
    const row = { done: 1, failed: 1, ms: 2000, min: 500, max: 1500 };
    expect(await buckets()).toEqual([
      { job_name: '__all__', ...row },
      { job_name: 'job', ...row },
    ]);
  });

  test('without a beginning, an end time or a transition nothing is counted', async () => {
    await save('a', { state: 'active', processedAt: null });
    await metered.updateJob(Q, 'a', { state: 'completed', completedAt: later(5) });
    await save('b', { state: 'active', processedAt: began });
    await metered.updateJob(Q, 'b', { state: 'completed' });
    await metered.updateJob(Q, 'b', { state: 'waiting' });
    await store.updateJob(Q, 'b', { state: 'completed', completedAt: later(5) });
    expect(await buckets()).toEqual([]);
  });
});

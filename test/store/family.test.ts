/** `cancel({ children: true })` and `remove({ children: true })`: a job and all its descendants. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Job, LeaseLostError, Worker } from '../../src/index.js';
import type { NewJobData } from '../../src/model/job.js';
import { cancelFamily, removeFamily } from '../../src/store/change/family.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { CANCELLED_REASON, REMOVED_REASON } from '../../src/store/rules/reasons.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { lockRow, untilWaiting } from '../support/held.js';
import { planOf, statementOf } from '../support/plan.js';
import { childOf, insertRows, jobIn, type NamedJob } from '../support/rows.js';
import { statesOf } from '../support/settling.js';
import { until } from '../support/until.js';

const db = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = await openStore(db.url);
});
afterAll(() => store.disconnect());
beforeEach(() => store.truncateAll());

const executor = () => store.engine.executor;

/**
 * top ─ root ─┬─ waiting (queue `b`)
 *             ├─ delayed
 *             ├─ active
 *             ├─ done, failed
 *             └─ middle ─┬─ deep
 *                        └─ running
 */
async function saveTree(root: Partial<NewJobData> = {}, top: Partial<NewJobData> = {}): Promise<void> {
  const parent = (id: string, pending: number, more: Partial<NewJobData> = {}): NamedJob =>
    jobIn('waiting-children', { id, queueName: 'a', pendingChildrenCount: pending, ...more });
  const topJob = parent('top', 1, top);
  const rootJob = { ...childOf(topJob, 'root', { state: 'waiting-children', pendingChildrenCount: 4 }), ...root };
  const middle = childOf(rootJob, 'middle', { state: 'waiting-children', pendingChildrenCount: 2 });
  const jobs = [
    topJob,
    rootJob,
    childOf(rootJob, 'waiting', { queueName: 'b' }),
    childOf(rootJob, 'delayed', { state: 'delayed' }),
    childOf(rootJob, 'active', { state: 'active' }),
    childOf(rootJob, 'done', { state: 'completed', returnvalue: 5 }),
    childOf(rootJob, 'failed', { state: 'failed' }),
    middle,
    childOf(middle, 'deep', { queueName: 'b', opts: { removeOnFail: true } }),
    childOf(middle, 'running', { state: 'active', queueName: 'b' }),
  ];
  for (const job of jobs) await store.saveJob(job.queueName, job);
  await store.saveJob('a', jobIn('waiting', { id: 'stranger', queueName: 'a' }));
}

const cancelledIds = async () =>
  (await db.sql`select id from conveyor_jobs where cancelled_at is not null order by id`).map(({ id }) => id);

const rootOf = async (fields: Partial<NewJobData> = {}) => {
  const data = await store.getJob('a', 'root');
  return new Job({ ...(data as NonNullable<typeof data>), ...fields } as never, store);
};

function eventsOf() {
  const heard: string[] = [];
  for (const queue of ['a', 'b']) store.subscribe(queue, ({ type, jobId }) => void heard.push(`${type} ${jobId}`));
  return heard;
}

describe('cancelled with its children', () => {
  it('what has not started fails as cancelled, active ones are told, ended ones stay', async () => {
    await saveTree();
    const heard = eventsOf();
    expect(await (await rootOf()).cancel({ children: true })).toBe(true);
    expect(await statesOf(db.sql)).toEqual({
      ...{ top: 'failed', root: 'failed', waiting: 'failed', delayed: 'failed', middle: 'failed' },
      ...{ active: 'active', running: 'active', done: 'completed', failed: 'failed', stranger: 'waiting' },
    });
    expect(await cancelledIds()).toEqual(['active', 'delayed', 'middle', 'root', 'running', 'waiting']);
    expect((await store.getJob('a', 'root'))?.failedReason).toBe(CANCELLED_REASON);
    expect((await store.getJob('a', 'middle'))?.failedReason).toBe(CANCELLED_REASON);
    expect((await store.getJob('a', 'top'))?.failedReason).toBe(`Child failed: ${CANCELLED_REASON}`);
    for (const id of ['root', 'middle', 'waiting', 'delayed', 'deep']) {
      expect(heard).toContain(`job:cancelled ${id}`);
      expect(heard).toContain(`job:failed ${id}`);
    }
    expect(heard).toContain('job:cancelled running');
    expect(heard).not.toContain('job:failed running');
    expect(heard).toContain('job:failed top');
    expect(heard.filter((event) => event.endsWith(' middle'))).toHaveLength(2);
  });

  it('without it they go on', async () => {
    await saveTree();
    expect(await (await rootOf()).cancel()).toBe(true);
    expect(await statesOf(db.sql)).toMatchObject({ root: 'failed', waiting: 'waiting', middle: 'waiting-children' });
    expect(await cancelledIds()).toEqual(['root']);
  });

  it('its parent counts it down when it ignores failed children', async () => {
    await saveTree({}, { opts: { failParentOnChildFailure: 'ignore' } });
    await (await rootOf()).cancel({ children: true });
    expect(await statesOf(db.sql)).toMatchObject({ top: 'waiting', root: 'failed' });
  });

  it('an active job and its children; an ended one whose children still run; one that is gone', async () => {
    await saveTree({ state: 'active' });
    await (await rootOf()).cancel({ children: true });
    expect(await statesOf(db.sql)).toMatchObject({ top: 'waiting-children', root: 'active', waiting: 'failed' });
    expect(await cancelledIds()).toContain('root');

    await store.truncateAll();
    await saveTree({ state: 'failed' });
    expect(await (await rootOf()).cancel({ children: true })).toBe(true);
    expect(await statesOf(db.sql)).toMatchObject({ root: 'failed', waiting: 'failed', middle: 'failed' });
    expect(await (await rootOf()).cancel({ children: true })).toBe(true); // 'active' and 'running', again

    await store.truncateAll();
    await saveTree();
    const root = await rootOf();
    await db.sql`delete from conveyor_jobs where id = 'root'`;
    expect(await root.cancel({ children: true })).toBe(true);
    expect(await statesOf(db.sql)).toMatchObject({ top: 'waiting-children', waiting: 'failed', middle: 'failed' });
    expect(await new Job({ ...root.toJSON(), id: 'none' } as never, store).cancel({ children: true })).toBe(false);
  });

  it('their workers end the active ones, and the parents that ended are left alone', async () => {
    await saveTree();
    await db.sql`delete from conveyor_jobs where id in ('active', 'running')`;
    const middle = { queueName: 'a', id: 'middle' };
    await store.saveJob('b', childOf(middle, 'worked', { queueName: 'b' }));
    let aborted = false;
    await db.sql`delete from conveyor_jobs where id in ('deep', 'waiting')`;
    await using _worker = new Worker(
      'b',
      (_job, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true;
            reject(signal.reason);
          });
        }),
      { store },
    );
    await until(async () => (await store.getJob('b', 'worked'))?.state === 'active');
    await (await rootOf()).cancel({ children: true });
    await until(async () => (await store.getJob('b', 'worked'))?.state === 'failed');
    expect(aborted).toBe(true);
    expect((await store.getJob('a', 'middle'))?.failedReason).toBe(CANCELLED_REASON);
  });

  it('a circle that was made by hand does not hold it up', async () => {
    const one = jobIn('waiting-children', { id: 'one', queueName: 'a', parentId: 'two', parentQueueName: 'a' });
    const two = jobIn('waiting-children', { id: 'two', queueName: 'a', parentId: 'one', parentQueueName: 'a' });
    await store.saveBulk('a', [one, two]);
    const { members } = await cancelFamily(executor(), 'a', 'one');
    expect(members).toHaveLength(2);
    expect(await statesOf(db.sql)).toEqual({ one: 'failed', two: 'failed' });
  });
});

describe('removed with its children', () => {
  it('all of them are gone but the active ones, which are told', async () => {
    await saveTree();
    const heard = eventsOf();
    await (await rootOf()).remove({ children: true });
    expect(await statesOf(db.sql)).toEqual({ top: 'failed', active: 'active', running: 'active', stranger: 'waiting' });
    expect(await cancelledIds()).toEqual(['active', 'running']);
    expect((await store.getJob('a', 'top'))?.failedReason).toBe(`Child failed: ${REMOVED_REASON}`);
    const gone = ['deep', 'delayed', 'done', 'failed', 'middle', 'root', 'waiting'];
    expect(heard.filter((event) => event.startsWith('job:removed')).sort()).toEqual(
      gone.map((id) => `job:removed ${id}`),
    );
    expect(heard).toContain('job:cancelled running');
  });

  it('without it they stay', async () => {
    await saveTree();
    await (await rootOf()).remove();
    expect(await statesOf(db.sql)).toMatchObject({ waiting: 'waiting', middle: 'waiting-children', deep: 'waiting' });
  });

  it('its parent keeps the value of one that had completed', async () => {
    await saveTree({ state: 'completed', returnvalue: 'mine' });
    await (await rootOf()).remove({ children: true });
    const [top] = await db.sql`select state, children_values from conveyor_jobs where id = 'top'`;
    expect(top).toEqual({ state: 'waiting-children', children_values: { root: 'mine' } });
  });

  it('in its own handler only under its lease: else nothing is changed', async () => {
    await saveTree({ state: 'active', lockedBy: 'w' });
    await db.sql`update conveyor_jobs set lease = 3 where id = 'root'`;
    const lost = await removeFamily(executor(), 'a', 'root', { lease: 2, workerId: 'w' });
    expect(lost.members).toEqual([]);
    expect(await statesOf(db.sql)).toMatchObject({ root: 'active', waiting: 'waiting' });
    expect(await cancelledIds()).toEqual([]);
    const attempt = { lease: { lease: 2, workerId: 'w' }, logs: [] };
    const data = await store.getJob('a', 'root');
    const Fenced = Job as unknown as new (...args: unknown[]) => Job;
    await expect(new Fenced(data, store, attempt).remove({ children: true })).rejects.toThrow(LeaseLostError);
    const held = await removeFamily(executor(), 'a', 'root', { lease: 3, workerId: 'w' });
    expect(held.members.filter(({ became }) => became === 'removed')).toHaveLength(7);
  });

  it('again is no error', async () => {
    await saveTree();
    const root = await rootOf();
    await root.remove({ children: true });
    await root.remove({ children: true });
  });
});

it('options that are none are refused', async () => {
  await saveTree();
  const root = await rootOf();
  await expect(root.cancel({ childs: true } as never)).rejects.toThrow(/cancel options has no option "childs"/);
  await expect(root.cancel({ children: 'yes' } as never)).rejects.toThrow(/^cancel options\.children is "yes"/);
  await expect(root.remove({ children: 1 } as never)).rejects.toThrow(/^remove options\.children is 1/);
});

it('against another that ends a grandchild: no deadlock, and each parent ends once', async () => {
  for (let round = 0; round < 10; round++) {
    await store.truncateAll();
    await saveTree();
    const held = await lockRow(db.sql, 'b', 'deep');
    const families = [cancelFamily(executor(), 'a', 'root'), cancelFamily(executor(), 'a', 'middle')];
    await untilWaiting(db.sql);
    await sleep(Math.random() * 20);
    await held.rollback();
    const answers = await Promise.all(families);
    const ended = answers.flatMap(({ members }) => members).filter(({ became }) => became === 'ended');
    // When `middle` is first, its policy fails `root`, which then has ended.
    expect(
      ended
        .map(({ id }) => id)
        .filter((id) => id !== 'root')
        .sort(),
    ).toEqual(['deep', 'delayed', 'middle', 'waiting']);
    expect(await statesOf(db.sql)).toMatchObject({ root: 'failed', middle: 'failed', top: 'failed' });
  }
});

it('its plan goes by the index of parents, whatever else there is', async () => {
  await saveTree();
  await insertRows(db.sql, 'a', 20_000, { parent_id: `'p' || i / 10`, parent_queue_name: `'a'` });
  await db.sql`analyze conveyor_jobs`;
  for (const family of [cancelFamily, removeFamily]) {
    const sent = await statementOf((e) => family(e, 'a', 'root', null));
    const nodes = await planOf(db.sql, sent, { enable_seqscan: 'off', enable_bitmapscan: 'off' });
    const jobs = nodes.filter(({ table }) => table === 'conveyor_jobs');
    expect(jobs.map(({ index }) => index)).toContain('conveyor_jobs_parent_idx');
    expect(Math.max(...jobs.map(({ rows }) => rows))).toBeLessThan(200);
  }
});

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JobData } from '../../src/model/job.js';
import { cancelJob } from '../../src/store/change/end.js';
import { retryOne } from '../../src/store/change/retry.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { lockRow, untilWaiting } from '../support/held.js';
import { childOf, flowOf, inFlow, jobIn } from '../support/rows.js';
import { claimAll, endOf, settleWith, statesOf } from '../support/settling.js';

const db = useDatabase();
let store: PgStore;
let other: PgStore;
/** ms allowed for Postgres to detect a deadlock and for the store to send one of the statements again. */
const DEADLOCK_MS = 12_000;

beforeAll(async () => {
  await db.sql.unsafe(`do $$ begin
    execute format('alter database %I set deadlock_timeout = ${DEADLOCK_MS}', current_database()); end $$`);
  store = await openStore(db.url);
  other = await openStore(db.url);
});
afterAll(() => Promise.all([store.disconnect(), other.disconnect()]));
beforeEach(() => store.truncateAll());

const Q = 'q';
const root = jobIn('waiting', { queueName: Q, id: 'root' });

const job = async (id: string, queueName = Q) => (await store.getJob(queueName, id)) as JobData;
const states = () => statesOf(db.sql);

describe('at the same time', () => {
  test('two children of one parent, settled on two connections', async () => {
    for (let i = 0; i < 25; i++) {
      await store.truncateAll();
      await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
      const claimed = await claimAll(store, Q);
      const answers = await Promise.all([
        settleWith(store, endOf(claimed.get('a'), 'completed')),
        settleWith(other, endOf(claimed.get('b'), 'completed')),
      ]);
      expect(answers.flatMap(({ parents }) => parents)).toHaveLength(1);
      expect(await job('root')).toMatchObject({ state: 'waiting', pendingChildrenCount: 0 });
    }
  });

  test('the second waits for the first, and counts on from there', async () => {
    await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
    const claimed = await claimAll(store, Q);
    const lock = await lockRow(db.sql, Q, 'root');
    const settling = settleWith(store, endOf(claimed.get('a'), 'completed'));
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
      await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
      const claimed = await claimAll(store, Q);
      await settleWith(store, endOf(claimed.get('a'), 'failed'));
      expect((await job('root')).state).toBe('failed');
      // Both reach for the child's row: the one that comes first gets it first.
      const lock = await lockRow(db.sql, Q, 'b');
      const settling = () => settleWith(store, endOf(claimed.get('b'), outcome));
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
      await store.saveFlow(flowOf(root, [childOf(root, 'a'), childOf(root, 'b')]));
      await settleWith(store, endOf((await claimAll(store, Q)).get('a'), 'failed'));
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
    const top = jobIn('waiting-children', { queueName: Q, id: 'a-root' });
    const mid = childOf(top, 'b-mid', { state: 'waiting-children', pendingChildrenCount: 1 });
    await store.saveFlow([top, mid, childOf(mid, 'leaf')].map(inFlow));
    const leaf = (await claimAll(store, Q)).get('leaf');
    const lock = await lockRow(db.sql, Q, 'a-root');
    const failing = settleWith(store, endOf(leaf, 'failed'));
    await untilWaiting(db.sql, 1);
    const cancelling = cancelJob(other.engine.executor, Q, 'b-mid');
    await untilWaiting(db.sql, 2);
    const released = performance.now();
    await lock.commit();
    await Promise.all([failing, cancelling]);
    expect(performance.now() - released).toBeLessThan(DEADLOCK_MS / 2);
    expect(await states()).toEqual({ 'a-root': 'failed', 'b-mid': 'failed', leaf: 'failed' });
  });
});

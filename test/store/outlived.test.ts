import { beforeAll, describe, expect, test } from 'vitest';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { deleteExpired } from '../../src/store/remove/delete-expired.js';
import { SetAside } from '../../src/store/rules/set-aside.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, watchStatements } from '../support/held.js';
import { insertRows, jobIn, newQueue } from '../support/rows.js';

describe('the removal of finished jobs that were to be kept for a while', () => {
  const database = useDatabase();
  let store: PgStore;
  beforeAll(async () => {
    store = new PgStore({ connection: database.url, listen: false });
    await store.connect();
    return () => store.disconnect();
  });
  const run = () => deleteExpired(store.engine.executor, new SetAside(() => {}));
  const past = { remove_at: `now() - interval '1 second'` };
  const done = { state: `'completed'`, completed_at: 'now()' };

  test('takes those whose time has passed, in any queue, and only if they have ended', async () => {
    const { sql } = database;
    const [a, b] = [newQueue(), newQueue()];
    await insertRows(sql, a, 5, { ...done, ...past });
    await insertRows(sql, b, 5, { ...past, state: `'failed'`, failed_at: 'now()' });
    await insertRows(sql, b, 5, { ...done, id: `'later-' || i`, remove_at: `now() + interval '1 hour'` });
    await insertRows(sql, b, 5, { ...past, id: `'waiting-' || i` });
    await insertRows(sql, b, 5, { ...done, id: `'kept-' || i` });
    await run();
    expect(await store.getJobCounts(a)).toMatchObject({ completed: 0 });
    expect(await store.getJobCounts(b)).toMatchObject({ failed: 0, completed: 10, waiting: 5 });
  });

  test('leaves their values to a parent that is still to run', async () => {
    const { sql } = database;
    const q = newQueue();
    await store.saveBulk(q, [jobIn('waiting', { id: 'runs' }), jobIn('failed', { id: 'ran', failedReason: 'x' })]);
    const child = (parent: string) => ({ ...done, ...past, parent_id: `'${parent}'`, parent_queue_name: `'${q}'` });
    await insertRows(sql, q, 2, { ...child('runs'), returnvalue: 'to_jsonb(i)' });
    await insertRows(sql, q, 1, { ...child('ran'), id: `'other'`, returnvalue: '1::text::jsonb' });
    await run();
    const rows = await sql`select id, children_values from conveyor_jobs where queue_name = ${q} order by id`;
    expect(rows).toEqual([
      { id: 'ran', children_values: null },
      { id: 'runs', children_values: { 'row-1': 1, 'row-2': 2 } },
    ]);
  });

  test('chunk by chunk; what somebody holds goes the next time', async () => {
    const { sql } = database;
    const q = newQueue();
    await insertRows(sql, q, 6_000, { ...done, ...past });
    const statements = await watchStatements(sql);
    const held = await openTransaction(sql);
    await held.sql`select 1 from conveyor_jobs where queue_name = ${q} and id = 'row-9' for update`;
    await run();
    expect(await store.getJobCounts(q)).toMatchObject({ completed: 1 });
    await held.rollback();
    await run();
    expect(await store.getJobCounts(q)).toMatchObject({ completed: 0 });
    expect(await statements.largest()).toBeLessThanOrEqual(5_000);
    await statements.end();
  });
});

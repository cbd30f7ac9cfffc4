/** `removeOnComplete: { count }`: the newest so many ended jobs of a queue are kept. */
import { beforeAll, expect, it, test } from 'vitest';
import type { Executor } from '../../src/db/executor.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { Trimmer } from '../../src/store/remove/trim.js';
import { SetAside } from '../../src/store/rules/set-aside.js';
import { useDatabase } from '../support/database.js';
import { lockRow, watchStatements } from '../support/held.js';
import { planOf, statementOf } from '../support/plan.js';
import { insertRows, jobIn, newQueue } from '../support/rows.js';

const database = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = new PgStore({ connection: database.url, listen: false });
  await store.connect();
  return () => store.disconnect();
});

const counted = (count: number | string, option = 'removeOnComplete') => ({
  opts: `'{"${option}": {"count": ${count}}}'::jsonb`,
});
/** Later rows ended later; all are in the past. */
const done = { state: `'completed'`, completed_at: `now() - interval '1 day' + i * interval '1 second'` };
const failed = { state: `'failed'`, failed_at: `now() - interval '1 day' + i * interval '1 second'` };
const later = { completed_at: `now() - interval '1 hour' + i * interval '1 second'` };

const aside = () => new SetAside(() => {});
const trimmer = (set = aside()) => new Trimmer(() => store.engine.executor, set);

/** Counts the statements of an executor. */
function counting() {
  const names: string[] = [];
  const executor: Executor = {
    tables: store.engine.executor.tables,
    run: (statement, values, options) => {
      names.push(statement.name);
      return store.engine.executor.run(statement, values, options);
    },
  };
  return { names, executor };
}

async function idsIn(queueName: string): Promise<string[]> {
  const rows = await database.sql`select id from conveyor_jobs where queue_name = ${queueName} order by seq`;
  return rows.map((row) => row['id'] as string);
}

it('keeps the newest, of each queue and state by its own count, and leaves other queues alone', async () => {
  const [a, b, other] = [newQueue(), newQueue(), newQueue()];
  await insertRows(database.sql, a, 30, { ...done, ...counted(10) });
  await insertRows(database.sql, a, 20, { ...failed, ...counted(5, 'removeOnFail'), id: `'failed-' || i` });
  await insertRows(database.sql, a, 20, { ...counted(5), id: `'waiting-' || i` });
  await insertRows(database.sql, b, 30, { ...done, ...counted(100) });
  await insertRows(database.sql, other, 30, { ...done, ...counted(1) });
  await trimmer().run([a, b]);
  expect(await store.getJobCounts(a)).toMatchObject({ completed: 10, failed: 5, waiting: 20 });
  expect((await idsIn(a)).filter((id) => id.startsWith('row-')).at(0)).toBe('row-21');
  expect(await store.getJobCounts(b)).toMatchObject({ completed: 30 });
  expect(await store.getJobCounts(other)).toMatchObject({ completed: 30 });
});

it('jobs without a count are kept, and count; the newest count applies', async () => {
  const q = newQueue();
  await insertRows(database.sql, q, 30, { ...done, ...counted(20) });
  await insertRows(database.sql, q, 30, { ...done, id: `'kept-' || i`, opts: `'{"removeOnComplete": false}'::jsonb` });
  await insertRows(database.sql, q, 4, { ...done, ...later, ...counted(10), id: `'new-' || i` });
  await insertRows(database.sql, q, 3, { ...done, ...later, id: `'last-' || i` });
  await trimmer().run([q]);
  const ids = await idsIn(q);
  expect(ids.filter((id) => id.startsWith('kept-'))).toHaveLength(30);
  expect(ids.filter((id) => id.startsWith('last-'))).toHaveLength(3);
  expect(ids.filter((id) => id.startsWith('new-'))).toHaveLength(4);
  // Of the newest ten, three are among the kept or counted old ones.
  expect(ids.filter((id) => id.startsWith('row-')).every((id) => ['row-29', 'row-30'].includes(id))).toBe(true);
});

it.each(['"5"', '-1', '1.5', '1e40', 'null', '{}'])('a count of %s in the table counts for nothing', async (count) => {
  const q = newQueue();
  await insertRows(database.sql, q, 5, { ...done, ...counted(count) });
  await trimmer().run([q]);
  expect(await idsIn(q)).toHaveLength(5);
});

it('chunk by chunk, however many there are, and then only what is new', async () => {
  const q = newQueue();
  await insertRows(database.sql, q, 7_000, { ...done, ...counted(50) });
  const statements = await watchStatements(database.sql);
  const { names, executor } = counting();
  const one = new Trimmer(() => executor, aside());
  await one.run([q]);
  expect(await store.getJobCounts(q)).toMatchObject({ completed: 50 });
  expect(await statements.largest()).toBeLessThanOrEqual(1_000);
  await statements.end();
  names.length = 0;
  await one.run([q]);
  expect(names).toEqual(['trim completed bounds', 'trim completed window', 'trim failed bounds']);
});

it('finds jobs among many without a count that ended in the meantime', async () => {
  const q = newQueue();
  await insertRows(database.sql, q, 10, { ...done, ...counted(5) });
  const one = trimmer();
  await one.run([q]);
  expect(await idsIn(q)).toHaveLength(5);
  const soonAfter = `now() - interval '2 hours' + i * interval '1 second'`;
  await insertRows(database.sql, q, 5_000, { ...done, id: `'kept-' || i`, completed_at: soonAfter });
  await insertRows(database.sql, q, 6, { ...done, ...counted(5), id: `'new-' || i`, completed_at: 'now()' });
  await one.run([q]);
  const ids = await idsIn(q);
  expect(ids).toHaveLength(5_000 + 5);
  expect(ids.filter((id) => id.startsWith('new-'))).toHaveLength(5);
});

it('leaves their values to a parent that is still to run', async () => {
  const q = newQueue();
  await store.saveBulk(q, [jobIn('waiting', { id: 'runs' })]);
  const child = { parent_id: `'runs'`, parent_queue_name: `'${q}'`, returnvalue: 'to_jsonb(i)' };
  await insertRows(database.sql, q, 3, { ...done, ...counted(1), ...child });
  await trimmer().run([q]);
  const [row] = await database.sql`select children_values from conveyor_jobs where queue_name = ${q} and id = 'runs'`;
  expect(row).toEqual({ children_values: { 'row-1': 1, 'row-2': 2 } });
});

it('what somebody holds goes later, and what the database refuses is set aside', async () => {
  const q = newQueue();
  const { sql } = database;
  await insertRows(sql, q, 20, { ...done, ...counted(5) });
  await sql`create table if not exists receipts (job_id text, queue_name text,
    foreign key (job_id, queue_name) references conveyor_jobs (id, queue_name))`;
  await sql`insert into receipts values ('row-3', ${q})`;
  const held = await lockRow(sql, q, 'row-9');
  const refused: string[] = [];
  const set = new SetAside(({ id }) => void refused.push(id));
  await trimmer(set).run([q]);
  expect(await idsIn(q)).toEqual(['row-3', 'row-9', 'row-16', 'row-17', 'row-18', 'row-19', 'row-20']);
  expect(refused).toEqual(['row-3']);
  await held.rollback();
  await trimmer(set).run([q]);
  expect(await idsIn(q)).not.toContain('row-9');
  await sql`drop table receipts`;
});

test('its plans read no more of the history than the count and a window', async () => {
  const q = newQueue();
  await insertRows(database.sql, q, 50_000, { ...done, ...counted(500) });
  await database.sql`analyze conveyor_jobs`;
  const sent = (name: string) => {
    const place = ['2026-01-01T00:00:00.000000Z', '5', 'true'];
    const run = (executor: Executor) => new Trimmer(() => answering(executor, q, place), aside()).run([q]);
    return statementOf(run, name);
  };
  for (const name of ['trim completed bounds', 'trim completed window', 'trim completed']) {
    const nodes = await planOf(database.sql, await sent(name), { enable_seqscan: 'off', enable_bitmapscan: 'off' });
    const jobs = nodes.filter(({ table }) => table === 'conveyor_jobs');
    expect(jobs.map(({ index }) => index).filter(Boolean), name).toContain('conveyor_jobs_completed_idx');
    expect(Math.max(...jobs.map(({ rows }) => rows)), name).toBeLessThanOrEqual(1_001);
  }
});

/** Statements before the one that is wanted answer with a place. */
function answering(executor: Executor, queue: string, place: string[]): Executor {
  return {
    tables: executor.tables,
    run: async (statement, values) => {
      const rows = await executor.run(statement, values);
      if (statement.name === 'trim completed bounds') return [[queue, place[0] as string, place[1] as string]];
      return rows.length > 0 ? rows : [place];
    },
  };
}

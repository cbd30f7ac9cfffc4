/** Completions whose rows are found where the claim left them: by place, never on trust. */
import { describe, expect, inject, it } from 'vitest';
import { renew } from '../../src/store/lease/renew.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { type Settlement, settle } from '../../src/store/settle/settle.js';
import { lockRow, openTransaction, untilWaiting } from '../support/held.js';
import { statementOf, walOf } from '../support/plan.js';
import { usePlayground } from '../support/playground.js';
import { claimAll, endOf, placesIn, settleWith } from '../support/settling.js';
import { countStatements } from '../support/statements.js';

const play = usePlayground();
const COMPLETED = { state: 'completed', cancelled: false, removed: false };

/** So many claimed jobs of a new queue, and where they are. */
async function claimed(count = 1) {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(Array.from({ length: count }, (_, data) => ({ name: 'work', data })));
  const jobs = [...(await claimAll(store, queue.name)).values()];
  const places = await placesIn(play.database.sql, queue.name);
  const completionOf = (stored: StoredJob, more: Partial<Settlement> = {}) =>
    endOf(stored, 'completed', { place: places.get(stored.job.id), ...more });
  const first = jobs[0] as StoredJob;
  return { store, queue, jobs, first, places, completionOf, statements: countStatements(store) };
}

it('one statement settles the rows that are in their places', async () => {
  const { store, jobs, completionOf, statements } = await claimed(20);
  const { outcomes } = await settleWith(store, ...jobs.map((job) => completionOf(job)));
  expect(outcomes).toEqual(jobs.map(() => COMPLETED));
  expect(statements.names).toEqual(['complete']);
});

it('rows without a place are settled by the same statement as those with one', async () => {
  const { store, jobs, completionOf, statements } = await claimed(20);
  const batch = jobs.map((job, i) => completionOf(job, i % 2 === 0 ? { place: undefined } : {}));
  const { outcomes } = await settleWith(store, ...batch);
  expect(outcomes).toEqual(jobs.map(() => COMPLETED));
  expect(statements.names).toEqual(['complete']);
});

it('rows that a renewal has moved are settled by a second one', async () => {
  const { store, jobs, completionOf, statements } = await claimed(20);
  const moved = jobs.slice(0, 5).map(({ job: { id, queueName }, lease }) => ({ id, queueName, lease, workerId: 'w' }));
  expect(await renew(store.engine.executor, moved, 60_000)).toHaveLength(5);
  statements.reset();
  const { outcomes } = await settleWith(store, ...jobs.map((job) => completionOf(job)));
  expect(outcomes).toEqual(jobs.map(() => COMPLETED));
  expect(statements.names).toEqual(['complete', 'complete']);
});

it('the row of another job in that place stays as it is', async () => {
  const { store, queue, jobs, places, completionOf } = await claimed(2);
  const [first, second] = jobs as [StoredJob, StoredJob];
  await play.database.sql`delete from conveyor_jobs where queue_name = ${queue.name} and id = ${first.job.id}`;
  const { outcomes } = await settleWith(store, completionOf(first, { place: places.get(second.job.id) }));
  expect(outcomes).toEqual([undefined]);
  expect((await queue.getJob(second.job.id))?.state).toBe('active');
});

describe('a row that is changed while its settlement waits for it', () => {
  const change = (what: string) => `update conveyor_jobs set ${what}`;
  const cases: [string, string, unknown][] = [
    ['renewed', change(`lock_until = lock_until + interval '1 minute'`), COMPLETED],
    ['cancelled', change('cancelled_at = now()'), { ...COMPLETED, state: 'failed', cancelled: true }],
    ['swept', change(`state = 'waiting', lease = lease + 1, locked_by = null`), undefined],
    ['claimed by another', change(`lease = lease + 1, locked_by = 'other'`), undefined],
    ['settled already', change(`state = 'completed', completed_at = now(), locked_by = null`), undefined],
    ['removed', 'delete from conveyor_jobs', undefined],
  ];

  it.each(cases)('%s', async (_, statement, expected) => {
    const { store, queue, first, completionOf } = await claimed();
    const { sql } = play.database;
    const other = await openTransaction(sql);
    await other.sql.unsafe(`${statement} where queue_name = '${queue.name}'`);
    const settling = settle(store.engine.executor, [completionOf(first)], { metrics: true, shard: 1 });
    await untilWaiting(sql);
    await other.commit();
    expect((await settling).outcomes).toEqual([expected]);
    const [counted] = await sql`
      select coalesce(sum(completed_count + failed_count), 0)::int as n from conveyor_metrics
      where queue_name = ${queue.name} and job_name = '__all__'`;
    expect(counted?.['n']).toBe(expected ? 1 : 0);
  });

  it('rolled back', async () => {
    const { store, queue, first, completionOf, statements } = await claimed();
    const other = await openTransaction(play.database.sql);
    await other.sql`update conveyor_jobs set cancelled_at = now() where queue_name = ${queue.name}`;
    const settling = settleWith(store, completionOf(first));
    await untilWaiting(play.database.sql);
    await other.rollback();
    expect((await settling).outcomes).toEqual([COMPLETED]);
    expect(statements.names).toEqual(['complete']);
  });
});

it('a row that stays locked fails the batch after the time given, and settles nothing', async () => {
  const { store, queue, jobs, completionOf } = await claimed(3);
  const held = await lockRow(play.database.sql, queue.name, jobs[1]?.job.id ?? '');
  const options = { metrics: false, shard: 0, lockTimeout: 50 };
  const batch = jobs.map((job) => completionOf(job));
  await expect(settle(store.engine.executor, batch, options)).rejects.toMatchObject({ code: 'PG_55P03' });
  expect(await queue.count('active')).toBe(3);
  await held.rollback();
});

it('jobs of several queues and workers are settled by one statement', async () => {
  const { store, jobs, completionOf } = await claimed(3);
  const other = play.queue(store);
  await other.addBulk(Array.from({ length: 3 }, (_, data) => ({ name: 'work', data })));
  const more = [...(await claimAll(store, other.name)).values()];
  const statements = countStatements(store);
  const batch = [...jobs.map((job) => completionOf(job)), ...more.map((job) => endOf(job, 'completed'))];
  const strangers = jobs.map((job) => completionOf(job, { workerId: 'nobody', place: undefined }));
  const { outcomes } = await settleWith(store, ...strangers, ...batch);
  expect(outcomes).toEqual([...strangers.map(() => undefined), ...batch.map(() => COMPLETED)]);
  expect(statements.names.slice(0, 1)).toEqual(['complete mixed']);
});

it('ids and results of any characters', async () => {
  const store = await play.open();
  const queue = play.queue(store, {}, 'q"\\{},é');
  const ids = ['a,b', '{}', '"quoted"', 'back\\slash', 'NULL', ' blank ', "it's", 'é\u{1f600}'];
  await queue.addBulk(ids.map((jobId) => ({ name: 'work', data: null, opts: { jobId } })));
  const jobs = await claimAll(store, queue.name);
  const results = ['"\\"\\\\{},"', 'null', '{"a":[1,"x\\ny"]}', '0', '""', 'false', '[]', '"NULL"'];
  const batch = ids.map((id, i) => endOf(jobs.get(id), 'completed', { returnvalue: results[i], logs: '["\\"{"]' }));
  const { outcomes } = await settleWith(store, ...batch);
  expect(outcomes).toEqual(ids.map(() => COMPLETED));
  for (const [i, id] of ids.entries()) {
    const job = await queue.getJob(id);
    expect(job?.returnvalue).toEqual(JSON.parse(results[i] ?? ''));
    expect(job?.attemptLogs[0]?.logs).toEqual(['"{']);
  }
});

// `explain (wal)` came with Postgres 13.
it.skipIf(inject('server').major < 13)('a settled job costs less than 450 bytes of WAL', async () => {
  const { jobs, completionOf } = await claimed(500);
  const batch = jobs.map((job) => completionOf(job));
  const options = { metrics: false, shard: 0 };
  const sent = await statementOf((executor) => settle(executor, batch, options));
  const { sql } = play.database;
  // Again and again, because after a checkpoint, and once only, a page is logged as a whole.
  const perJob = Math.min(await walOf(sql, sent), await walOf(sql, sent), await walOf(sql, sent)) / batch.length;
  expect(perJob).toBeGreaterThan(150);
  expect(perJob).toBeLessThan(450);
});

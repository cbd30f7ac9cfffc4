import { beforeAll, describe, expect, test } from 'vitest';
import type { Executor } from '../../src/db/executor.js';
import { promoteAll, promoteChunk, promoteDue } from '../../src/store/change/promote.js';
import { retryJobs } from '../../src/store/change/retry-jobs.js';
import { claim } from '../../src/store/claim/claim.js';
import { renew } from '../../src/store/lease/renew.js';
import { sweep } from '../../src/store/lease/sweep.js';
import { aggregateMetrics } from '../../src/store/metrics/fold.js';
import { countByState, countGroupActive, nextDelayed } from '../../src/store/read/count.js';
import { findByDeduplicationKey, findJobById, getJob } from '../../src/store/read/find.js';
import { listFlowParents, listJobs, stalledJobs } from '../../src/store/read/list.js';
import { listQueues } from '../../src/store/read/queues.js';
import { clean } from '../../src/store/remove/clean.js';
import { deleteExpired } from '../../src/store/remove/delete-expired.js';
import { drain } from '../../src/store/remove/drain.js';
import { obliterate } from '../../src/store/remove/obliterate.js';
import { SetAside } from '../../src/store/rules/set-aside.js';
import { pollQueues } from '../../src/store/runtime/poll-statement.js';
import { settle } from '../../src/store/settle/settle.js';
import { useDatabase } from '../support/database.js';
import { planOf, statementOf } from '../support/plan.js';
import { insertRows } from '../support/rows.js';

const q = 'big';
const request = { queueName: q, workerId: 'worker', lockDuration: 1_000 };

/** Each statement, the index it must use, and the most rows that any step of its plan may read. */
const HOT: [string, (executor: Executor) => Promise<unknown>, string | RegExp, number][] = [
  ['a claim', (e) => claim(e, { ...request, limit: 20 }), 'conveyor_jobs_waiting_idx', 20],
  [
    'a claim from the watermark',
    (e) => claim(e, { ...request, limit: 20, from: { priority: 2, seq: 500 } }),
    'conveyor_jobs_waiting_idx',
    20,
  ],
  ['a lifo claim', (e) => claim(e, { ...request, limit: 20, lifo: true }), 'conveyor_jobs_waiting_idx', 100],
  ['a claim by name', (e) => claim(e, { ...request, limit: 5, jobName: 'name-3' }), 'conveyor_jobs_waiting_idx', 100],
  [
    'a claim of an empty queue',
    (e) => claim(e, { ...request, queueName: 'none', limit: 20 }),
    'conveyor_jobs_waiting_idx',
    1,
  ],
  ['promotion of what is due', (e) => promoteChunk(e, q), 'conveyor_jobs_delayed_idx', 1_000],
  ['promotion by a timestamp', (e) => promoteDue(e, q, Date.now() - 2_400_000), 'conveyor_jobs_delayed_idx', 1_000],
  ['promotion with nothing due', (e) => promoteDue(e, q, 1), 'conveyor_jobs_delayed_idx', 1],
  ['getNextDelayedTimestamp', (e) => nextDelayed(e, q), 'conveyor_jobs_delayed_idx', 1],
  ['getStalledJobs', (e) => stalledJobs(e, q), 'conveyor_jobs_active_idx', 200],
  ['the sweep', (e) => sweep(e, q, 1), 'conveyor_jobs_active_idx', 200],
  ['getJob', (e) => getJob(e, q, 'late-7'), /_pkey/, 1],
  ['findJobById', (e) => findJobById(e, 'late-7'), /_pkey/, 1],
  ['findByDeduplicationKey', (e) => findByDeduplicationKey(e, q, 'key-7'), 'conveyor_jobs_deduplication_idx', 1],
  ['getGroupActiveCount', (e) => countGroupActive(e, q, 'group-1'), 'conveyor_jobs_active_idx', 20],
  ['removal of the outlived', (e) => deleteExpired(e, new SetAside(() => {})), 'conveyor_jobs_remove_idx', 1_000],
];

/** These may read every row they count or page through, but no others. */
const OTHERS: typeof HOT = [
  ['the first page of completed jobs', (e) => listJobs(e, q, 'completed', 0, 50), 'conveyor_jobs_completed_idx', 50],
  ['the first page of failed jobs', (e) => listJobs(e, q, 'failed', 0, 50), 'conveyor_jobs_failed_idx', 50],
  ['a later page', (e) => listJobs(e, q, 'completed', 1_000, 1_050), 'conveyor_jobs_completed_idx', 1_050],
  ['a page of active jobs', (e) => listJobs(e, q, 'active', 0, 50), 'conveyor_jobs_active_idx', 200],
  ['countJobs', (e) => countByState(e, q, 'failed'), 'conveyor_jobs_failed_idx', 10_000],
  ['the flow parents', (e) => listFlowParents(e, undefined, 100), 'conveyor_jobs_flow_idx', 1_000],
  ['clean, with nothing old', (e) => clean(e, q, 'completed', 1e12), 'conveyor_jobs_completed_idx', 1],
  ['clean', (e) => clean(e, q, 'completed', 0), 'conveyor_jobs_completed_idx', 1_000],
];

describe('plans over 100,000 jobs', () => {
  const database = useDatabase();

  beforeAll(async () => {
    const { sql } = database;
    const name = { name: `'name-' || i % 7`, priority: 'i % 3' };
    await insertRows(sql, q, 60_000, {
      ...name,
      group_id: `'group-' || i % 500`,
      deduplication_key: `'key-' || i`,
      children_ids: `case when i % 300 = 0 then '["c"]' else '[]' end::jsonb`,
    });
    const late = `now() - interval '2 hours' + i * interval '1 second'`;
    await insertRows(sql, q, 15_000, { ...name, id: `'late-' || i`, state: `'delayed'`, delay_until: late });
    const done = { ...name, processed_at: 'now()', remove_at: `case when i % 2 = 0 then ${late} end` };
    await insertRows(sql, q, 20_000, { ...done, id: `'done-' || i`, state: `'completed'`, completed_at: late });
    await insertRows(sql, q, 10_000, { ...done, id: `'lost-' || i`, state: `'failed'`, failed_at: late });
    const lock = `now() + (i - 20) * interval '1 minute'`;
    const active = { id: `'busy-' || i`, state: `'active'`, group_id: `'group-' || i % 20`, lock_until: lock };
    await insertRows(sql, q, 200, { ...name, ...active, locked_by: `'w'`, processed_at: 'now()' });
    for (let i = 0; i < 5; i++) await insertRows(sql, `small-${i}`, 100, name);
    await sql`vacuum (analyze) conveyor_jobs`;
  });

  const check = async (work: (executor: Executor) => Promise<unknown>, index: string | RegExp, most: number) => {
    const found = await planOf(database.sql, await statementOf(work));
    expect(found.filter((node) => node.type === 'Seq Scan' && node.table !== 'conveyor_paused_names')).toEqual([]);
    expect(found.map((node) => node.index).join()).toMatch(index);
    // Twice the rows: those that are written are counted where they are read and where they are found again.
    expect(found.filter((node) => node.rows > 2 * most)).toEqual([]);
  };

  test.each(HOT)('%s', async (_, work, index, most) => {
    await check(work, index, most);
  });

  test.each(OTHERS)('%s', async (_, work, index, most) => {
    await check(work, index, most);
  });

  test('a glance looks at heads of indexes only', async () => {
    const found = await planOf(database.sql, await statementOf((e) => pollQueues(e, [q, 'small-1', 'none'])));
    const indexes = new Set(found.map((node) => node.index).filter(Boolean));
    expect(indexes).toEqual(
      new Set([
        'conveyor_jobs_waiting_idx',
        'conveyor_jobs_delayed_idx',
        'conveyor_jobs_active_idx',
        'conveyor_jobs_remove_idx',
        'conveyor_schedules_tick_idx',
      ]),
    );
    expect(found.filter((node) => ['Seq Scan', 'Sort'].includes(node.type))).toEqual([]);
    // Expired leases are looked for among the active jobs.
    expect(Math.max(...found.map((node) => node.rows))).toBeLessThanOrEqual(200);
  });

  test('listQueues finds the names by one probe each, and counts from indexes', async () => {
    const found = await planOf(database.sql, await statementOf(listQueues));
    expect(found.filter((node) => node.type === 'Seq Scan' && node.table === 'conveyor_jobs')).toEqual([]);
    expect(found.filter((node) => node.type === 'Limit').every((node) => node.rows <= 10)).toBe(true);
    // Counted, and not looked through once more for the newest. (The rows of six loops are told as their mean.)
    expect(found.filter((node) => node.index === 'conveyor_jobs_completed_idx' && node.rows > 19_000)).toHaveLength(1);
  });

  test('folding metrics reads only what is not folded yet', async () => {
    const { sql } = database;
    await sql`insert into conveyor_metrics (queue_name, job_name, granularity, period_start, shard)
      select 'q', 'name-' || i % 20, 'minute', date_trunc('minute', now()) - (i / 20) * interval '1 minute',
        case when i < 200 then 3 else -1 end
      from generate_series(0, 19999) i`;
    await sql`analyze conveyor_metrics`;
    await check(
      (e) => aggregateMetrics(e, { retentionMinutes: 1, retentionHours: 1 }),
      'conveyor_metrics_period_idx',
      200,
    );
  });
});

/** Statements that work in chunks: none may read much more than a chunk of 1,000 rows. */
const CHUNKS: [string, (executor: Executor) => Promise<unknown>][] = [
  ['promote all', (e) => promoteAll(e, q)],
  ['promote due', (e) => promoteDue(e, q, Date.now())],
  ['promote due with ids', (e) => promoteChunk(e, q)],
  ['clean waiting', (e) => clean(e, q, 'waiting', 0)],
  ['clean delayed', (e) => clean(e, q, 'delayed', 0)],
  ['clean completed', (e) => clean(e, q, 'completed', 0)],
  ['drain waiting-children from the root', (e) => drain(e, q)],
  ['drain waiting-children', (e) => drain(e, q)],
  ['drain waiting', (e) => drain(e, q)],
  ['obliterate failed', (e) => obliterate(e, q, true)],
  ['retry failed, childless', (e) => retryJobs(e, q, 'failed')],
  ['retry failed, after its children', (e) => retryJobs(e, q, 'failed')],
  ['retry completed, childless', (e) => retryJobs(e, q, 'completed')],
];

const holds = Array.from({ length: 50 }, (_, i) => ({ queueName: q, id: `busy-${i + 1}`, lease: 0, workerId: 'w' }));
const settlements = holds.map((hold) => ({ ...hold, kind: 'completed', returnvalue: '1', hasParent: true }) as const);
const placed = settlements.map((settlement, i) => ({ ...settlement, place: `(${i},1)` }));

/** The statements that a busy worker sends. */
const WORK: typeof CHUNKS = [
  ['a claim', (e) => claim(e, { ...request, limit: 50 })],
  ['a lifo claim', (e) => claim(e, { ...request, limit: 50, lifo: true })],
  ['a renewal', (e) => renew(e, holds, 1_000)],
  ['a settlement', (e) => settle(e, settlements, { metrics: true, shard: 1 })],
  ['a settlement by place', (e) => settle(e, placed, { metrics: true, shard: 1 })],
];

describe('the plan of a settlement by place', () => {
  const database = useDatabase();

  // As the store's own connections.
  test.each([0, 1, 50])('made when the table had %d rows, reads no index and no other row', async (count) => {
    const { sql } = database;
    await sql`truncate conveyor_jobs`;
    if (count > 0) await insertRows(sql, q, count);
    await sql`vacuum (analyze) conveyor_jobs`;
    const childless = placed.map((settlement) => ({ ...settlement, hasParent: false }));
    const statement = await statementOf((e) => settle(e, childless, { metrics: false, shard: 1 }));
    const found = await planOf(sql, statement, { enable_seqscan: 'off', enable_bitmapscan: 'off' });
    const reading = found.filter(({ table, type }) => table === 'conveyor_jobs' && type !== 'ModifyTable');
    // Of the index only what is not given: nothing.
    expect(reading.map(({ type }) => type).sort()).toEqual(['Index Scan', 'Tid Scan']);
    expect(reading.find(({ type }) => type === 'Index Scan')?.rows).toBe(0);
  });
});

describe('plans over jobs that the planner has not heard of yet', () => {
  const database = useDatabase();

  beforeAll(async () => {
    const { sql } = database;
    await insertRows(sql, 'before', 5_000, { created_at: `now() - interval '1 hour'` });
    await sql`vacuum (analyze) conveyor_jobs`;
    // From here on nothing is analyzed, whatever autovacuum thinks.
    await sql`alter table conveyor_jobs set (autovacuum_enabled = off)`;
    const past = `now() - interval '1 hour'`;
    const child = { created_at: past, parent_queue_name: `'${q}'`, parent_id: `'top-' || i` };
    await insertRows(sql, q, 20_000, child);
    await insertRows(sql, q, 20_000, { created_at: past, id: `'late-' || i`, state: `'delayed'`, delay_until: past });
    await insertRows(sql, q, 20_000, {
      ...child,
      id: `'busy-' || i`,
      state: `'active'`,
      lock_until: past,
      locked_by: `'w'`,
    });
    await insertRows(sql, q, 20_000, { ...child, id: `'done-' || i`, state: `'completed'`, completed_at: past });
    await insertRows(sql, q, 20_000, { created_at: past, id: `'lost-' || i`, state: `'failed'`, failed_at: past });
    await insertRows(sql, q, 20_000, { created_at: past, id: `'top-' || i`, state: `'waiting-children'` });
  });

  // As the store's own connections, and as an app's.
  describe.each(['off', 'on'])('enable_seqscan = %s', (enable_seqscan) => {
    test.each(CHUNKS)('%s', async (name, work) => {
      const found = await planOf(database.sql, await statementOf(work, name), { enable_seqscan });
      // Postgres 12 compares the rows of a chunk with each other where newer ones sort or hash them.
      expect(found.filter((node) => node.rows > 3_000 && node.type !== 'CTE Scan')).toEqual([]);
    });

    test.each(WORK)('%s', async (_, work) => {
      const found = await planOf(database.sql, await statementOf(work), { enable_seqscan });
      expect(found.filter((node) => node.rows > 200)).toEqual([]);
    });
  });
});

/** What the pages read does not grow with the tables. */
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { estimate } from '../../src/dashboard/queries/estimates.js';
import { readFlows, readFlowTree } from '../../src/dashboard/queries/flows.js';
import { readGroups } from '../../src/dashboard/queries/groups.js';
import { filterOf, type JobFilter } from '../../src/dashboard/queries/job-filter.js';
import { type Cursor, readJobs } from '../../src/dashboard/queries/jobs.js';
import { COUNT_CAP, SCAN_CAP } from '../../src/dashboard/queries/limits.js';
import { readSummaries, readSummaryOf } from '../../src/dashboard/queries/overview.js';
import { readLatency } from '../../src/dashboard/queries/queue.js';
import { readThroughput } from '../../src/dashboard/queries/throughput.js';
import type { Executor } from '../../src/db/executor.js';
import type { JobState } from '../../src/model/job.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { planOf, statementOf } from '../support/plan.js';
import { insertRows } from '../support/rows.js';

const q = 'big';
const EACH = 30_000;
const LIMIT = 50;
/** Jobs of the queues beside the big one. */
const OTHERS = 250;
/** Postgres 12 sorts all delayed jobs where later ones sort those of one due time. */
const sorted = (state: JobState, rows: number) => (state === 'delayed' && inject('server').major < 13 ? EACH : rows);
const database = useDatabase();
let store: PgStore;

beforeAll(async () => {
  const { sql } = database;
  const at = `now() - i * interval '1 s'`;
  const common = { created_at: at, data: `jsonb_build_object('n', i)` };
  await insertRows(sql, q, EACH, { ...common, priority: 'i % 3', group_id: `'g-' || i % 40` });
  await insertRows(sql, q, EACH, {
    ...common,
    id: `'late-' || i`,
    state: `'delayed'`,
    delay_until: `now() + i * interval '1 s'`,
  });
  await insertRows(sql, q, EACH, {
    ...common,
    id: `'done-' || i`,
    state: `'completed'`,
    processed_at: at,
    completed_at: at,
  });
  await insertRows(sql, q, EACH, { ...common, id: `'lost-' || i`, state: `'failed'`, failed_at: at });
  await insertRows(sql, q, 3_000, {
    ...common,
    id: `'top-' || i`,
    state: `'waiting-children'`,
    children_ids: `jsonb_build_array('kid-' || i)`,
  });
  await insertRows(sql, q, 100, {
    ...common,
    id: `'busy-' || i`,
    state: `'active'`,
    processed_at: at,
    locked_by: `'w'`,
  });
  for (let i = 0; i < 5; i++) await insertRows(sql, `small-${i}`, 50, common);
  await sql`vacuum (analyze) conveyor_jobs`;
  store = await openStore(database.url);
  return () => store.disconnect();
}, 120_000);

const filter = (fields: Record<string, unknown>): JobFilter => filterOf(q, fields, () => false).filter;

const DEEP: [JobState, string][] = [
  ['waiting', '1~20000'],
  ['delayed', '2027-01-01T00:00:00.000000Z~50000'],
  ['completed', '2026-01-01T00:00:00.000000Z~50000'],
  ['failed', 'infinity~100000'],
  ['waiting-children', '0~121000'],
];

/** As the store's own connections, and as an app's. */
describe.each(['off', 'on'])('enable_seqscan = %s', (enable_seqscan) => {
  const plan = async (work: (executor: Executor) => Promise<unknown>, name?: string) => {
    const found = await planOf(database.sql, await statementOf(work, name), {
      enable_seqscan,
      enable_bitmapscan: enable_seqscan,
    });
    expect(found.filter(({ type, table }) => type === 'Seq Scan' && table === 'conveyor_jobs')).toEqual([]);
    return Math.max(...found.map(({ rows }) => rows));
  };

  test.each(DEEP)('a page of %s jobs, somewhere in the middle', async (state, place) => {
    const [at, seq] = place.split('~') as [string, string];
    const cursor: Cursor = { state, place: { at, seq } };
    const rows = await plan((e) => readJobs(e, filter({ state }), { cursor, limit: LIMIT }));
    expect(rows).toBeLessThanOrEqual(sorted(state, 2 * LIMIT));
  });

  test.each(DEEP)('a search among %s jobs', async (state) => {
    const options = { cursor: null, limit: LIMIT };
    expect(await plan((e) => readJobs(e, filter({ state, name: 'none' }), options))).toBeLessThanOrEqual(
      sorted(state, SCAN_CAP + LIMIT),
    );
    expect(await plan((e) => readJobs(e, filter({ state, text: 'x' }), options))).toBeLessThanOrEqual(
      sorted(state, SCAN_CAP + LIMIT),
    );
    const end = (e: Executor) => readJobs(e, filter({ state, name: 'none' }), options);
    expect(await plan(end, `dashboard scan end ${state}`)).toBeLessThanOrEqual(sorted(state, SCAN_CAP + LIMIT));
  });

  test('a span of time among ended jobs', async () => {
    const since = new Date(Date.now() - 20_000_000).toISOString();
    const until = new Date(Date.now() - 19_990_000).toISOString();
    const rows = await plan((e) =>
      readJobs(e, filter({ state: 'completed', since, until }), { cursor: null, limit: LIMIT }),
    );
    expect(rows).toBeLessThanOrEqual(2 * LIMIT);
  });

  test.each<[string, (e: Executor) => Promise<unknown>, number]>([
    ['all queues', readSummaries, COUNT_CAP + 1 + OTHERS],
    ['one queue', (e) => readSummaryOf(e, q), COUNT_CAP + 1],
    ['run times', (e) => readLatency(e, q), 1_000],
    ['flows', (e) => readFlows(e, null), 2 * LIMIT],
    ['the tree of a flow', (e) => readFlowTree(e, q, 'top-7'), 60],
    ['throughput', (e) => readThroughput(e, [q, 'small-1'], Date.now()), 10],
    ['groups', (e) => readGroups(e, q), 40 * 1_001],
  ])('%s', async (_, work, most) => {
    expect(await plan(work)).toBeLessThanOrEqual(most);
  });
});

test('what is not counted to its end is estimated, and says so', async () => {
  const { executor } = store.engine;
  const summaries = await readSummaries(executor);
  const counts = await estimate(executor, summaries);
  const big = counts[summaries.findIndex(({ name }) => name === q)]!;
  expect(big.completed).toMatchObject({ kind: 'about' });
  expect(big.completed.value).toBeGreaterThan(0.9 * EACH);
  expect(big.completed.value).toBeLessThan(1.1 * EACH);
  expect(big.active).toEqual({ value: 100, kind: 'exact' });
  expect(counts[summaries.findIndex(({ name }) => name === 'small-1')]!.waiting).toEqual({ value: 50, kind: 'exact' });
});

test('a search that finds nothing ends, page by page, having seen every job once', async () => {
  const { executor } = store.engine;
  let cursor: Cursor | null = null;
  const scanned: (number | null)[] = [];
  do {
    const page: Awaited<ReturnType<typeof readJobs>> = await readJobs(
      executor,
      filter({ state: 'completed', name: 'none' }),
      {
        cursor,
        limit: LIMIT,
      },
    );
    expect(page.jobs).toEqual([]);
    scanned.push(page.scanned);
    cursor = page.next;
  } while (cursor);
  expect(scanned).toEqual([SCAN_CAP, null]);
});

import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPool } from '../../src/db/connect.js';
import type { Executor } from '../../src/db/executor.js';
import { PreparedExecutor } from '../../src/db/prepared-executor.js';
import { compile, type Statement } from '../../src/db/statement.js';
import { tablesIn } from '../../src/db/tables.js';
import { claimWithin } from '../../src/store/claim/dispatch.js';
import { refreshGroups } from '../../src/store/claim/group-refresh.js';
import { type FetchLimits, resolveLimits } from '../../src/store/claim/limits.js';
import { useDatabase } from '../support/database.js';
import { insertRows } from '../support/rows.js';

const database = useDatabase();
const tables = tablesIn(undefined);
let client: postgres.Sql;
beforeAll(async () => {
  const { hostname, port, username, password, pathname } = new URL(database.url);
  const user = { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  const options = { host: hostname, port: Number(port), ...user, database: pathname.slice(1), max: 1, idle_timeout: 0 };
  client = await openPool(options, 30_000);
  await client.unsafe('set plan_cache_mode = force_generic_plan');
});
afterAll(() => client.end({ timeout: 1 }));

interface PlanNode {
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: PlanNode[];
}

/** Rows of the jobs table that the plan's nodes read, whether they passed a filter or not. */
function jobsRead(node: PlanNode): number {
  const removed = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0);
  const own = node['Relation Name'] === 'conveyor_jobs' ? (node['Actual Rows'] + removed) * node['Actual Loops'] : 0;
  return (node.Plans ?? []).reduce((sum, child) => sum + jobsRead(child), own);
}

let prepared = 0;

/** Explains and runs each statement with its generic plan, and records how many rows of jobs it read. */
class Explainer implements Executor {
  readonly tables = tables;
  read = 0;
  readonly #prepared = new Map<unknown, string>();

  async run<K extends string>(statement: Statement<K>, values: Readonly<Record<K, unknown>>) {
    const compiled = compile(statement, tables);
    const params = compiled.bind(values as never);
    let name = this.#prepared.get(statement);
    if (!name) {
      name = `explained_${++prepared}`;
      this.#prepared.set(statement, name);
      await client.unsafe(`prepare ${name} (${params.map(() => 'text').join(', ')}) as ${compiled.text}`);
    }
    const given = params.map((value) => (value === null ? 'null' : `'${value.replaceAll("'", "''")}'`)).join(', ');
    const [row] = await client.unsafe(`explain (analyze, format json) execute ${name}(${given})`);
    this.read = jobsRead(row!['QUERY PLAN'][0].Plan);
    // The answer is not to be had together with the plan; none of the statements here needs to be asked again.
    return [['done', null, null, null]] as never;
  }
}

async function read(explainer: Explainer, queueName: string, claim: FetchLimits & { limit?: number }): Promise<number> {
  const request = { queueName, workerId: 'w', lockDuration: 1_000, limit: 1, ...claim };
  await claimWithin(explainer, request, resolveLimits(claim));
  return explainer.read;
}

const SHAPES: [string, FetchLimits & { lifo?: boolean; jobName?: string; limit?: number }][] = [
  ['one', { groupConcurrency: 3 }],
  ['lifo', { groupConcurrency: 3, lifo: true }],
  ['by name', { groupConcurrency: 3, jobName: 'job' }],
  ['excluding', { excludeGroups: ['g1', 'g2'] }],
  ['fifty', { groupConcurrency: 3, limit: 50 }],
  [
    'everything',
    {
      groupConcurrency: 3,
      groupLimiter: { max: 9, duration: 1_000 },
      rateLimit: { max: 99_999, duration: 1_000 },
      maxGlobalConcurrency: 99_999,
      limit: 5,
    },
  ],
];

/** Rows per claimed job that a claim, the first claim (which makes the cursors) or a refresh may read of 100,000 waiting. */
const PER_JOB = 10;

describe.each([
  ['1,000 groups', 1_000, true],
  ['100 groups', 100, true],
  ['1,000 groups, planned while the tables were empty', 1_000, false],
  ['1,000 groups, analyzed before the commit', 1_000, false],
])('100,000 waiting in %s', (label, groups, analyzed) => {
  const explainer = new Explainer();
  const executor = new PreparedExecutor(() => client, tables, { prepare: true, timeout: 30_000 });
  beforeAll(async () => {
    await database.sql`truncate conveyor_jobs, conveyor_group_cursors, conveyor_rate_limits`;
    if (!analyzed) {
      await client.unsafe('discard plans');
      for (const [, claim] of SHAPES) await read(explainer, label, claim);
      await refreshGroups(explainer, label, true);
    }
    if (label.endsWith('before the commit')) {
      // Autovacuum does this at times: the table then has many pages, and no row in any of them.
      await database.sql.begin(async (tx) => {
        await insertRows(tx, label, 100_000, { group_id: `'g' || i % ${groups}` });
        await client.unsafe('analyze conveyor_jobs');
        await tx.unsafe('delete from conveyor_jobs');
      });
    }
    await insertRows(database.sql, label, 100_000, { group_id: `'g' || i % ${groups}`, priority: 'i % 3' });
    if (analyzed) await database.sql.unsafe('analyze conveyor_jobs');
    // For real: cursors and lists are there.
    const claim = { queueName: label, workerId: 'w', lockDuration: 1_000, limit: groups };
    const limits = resolveLimits({ groupConcurrency: 3, rateLimit: { max: 9_999, duration: 1 } });
    const { jobs } = await claimWithin(executor, claim, limits);
    expect(jobs).toHaveLength(groups);
    if (analyzed) await database.sql.unsafe('analyze conveyor_group_cursors');
  });

  test.each(SHAPES)('a claim does not read the backlog: %s', async (_name, claim) => {
    const walked = groups > 200 ? 0 : groups * 3;
    const counted = claim.maxGlobalConcurrency ? groups + 100 : 0;
    expect(await read(explainer, label, claim)).toBeLessThanOrEqual(walked + counted + (claim.limit ?? 1) * PER_JOB);
  });

  test('a survey reads one job per group', async () => {
    await refreshGroups(explainer, label, true);
    expect(explainer.read).toBeLessThanOrEqual(groups + 5);
  });
});

/** Upgrading adds, never renames: from the tables of each released version, with live jobs in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, describe, expect, it } from 'vitest';
import { migrate, PgStore, Queue, Worker } from '../../src/index.js';
import { createDatabase } from '../support/database.js';
import { until } from '../support/until.js';

const folder = join(import.meta.dirname, 'released');
const read = (file: string) => readFileSync(join(folder, file), 'utf8');
const released = readdirSync(folder)
  .filter((file) => /^\d.*\.sql$/.test(file))
  .map((file) => file.replace(/\.sql$/, ''));

const closing: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

interface Column {
  table: string;
  column: string;
  type: string;
}

const columnsOf = (sql: postgres.Sql) =>
  sql<Column[]>`
    select table_name as table, column_name as column, data_type as type from information_schema.columns
    where table_schema = 'public' and table_name like 'conveyor%' order by 1, 2`;

/** All that is in the tables, in the columns that there were at first. */
async function contents(sql: postgres.Sql, columns: readonly Column[]): Promise<Record<string, unknown>> {
  const tables = new Set(columns.map(({ table }) => table));
  const answer: Record<string, unknown> = {};
  for (const table of tables) {
    if (table === 'conveyor_migrations') continue;
    const names = columns.filter((one) => one.table === table).map(({ column }) => column);
    answer[table] = await sql`select ${sql(names)} from ${sql(table)} t order by t::text`;
  }
  return answer;
}

it('knows a released version', () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
    version: string;
  };
  // Written by "npm run generate"; one of a released version is never changed again.
  expect(released).toContain(version);
});

describe.each(released)('from %s', (version) => {
  it('keeps every column, every row and every job', async () => {
    const database = await createDatabase({ empty: true });
    const sql = postgres(database.url, { max: 2, onnotice: () => {} });
    closing.push(async () => {
      await sql.end({ timeout: 1 });
      await database.drop();
    });
    await sql.unsafe(read(`${version}.sql`));
    await sql.unsafe(read('live-jobs.sql'));
    const columns = await columnsOf(sql);
    const before = await contents(sql, columns);

    await migrate({ connection: database.url });
    expect(await columnsOf(sql)).toEqual(expect.arrayContaining([...columns]));
    expect(await contents(sql, columns)).toEqual(before);
    expect(await migrate({ connection: database.url })).toEqual({ applied: [], adopted: [] });

    // Everything goes on from where it was.
    const store = new PgStore({ connection: database.url, autoMigrate: false, metrics: { enabled: true } });
    await store.connect();
    closing.push(() => store.disconnect());
    const queue = new Queue<unknown>('live', { store });
    expect((await queue.add('echo', 'another', { deduplication: { key: 'once' } })).id).toBe('waiting');
    const worker = new Worker<unknown>(
      'live',
      async (job) => (job.name === 'sum' ? job.getChildrenValues() : job.data),
      { store, stalledInterval: 100 },
    );
    closing.push(() => worker.close());
    const state = async (id: string) => (await queue.getJob(id))?.state;
    for (const id of ['waiting', 'delayed', 'stalled', 'retried', 'parent', 'child']) {
      await until(async () => (await state(id)) === 'completed', { what: `"${id}" to complete` });
    }
    expect((await queue.getJob('waiting'))?.returnvalue).toEqual({ n: 1, text: '10.5' });
    expect((await queue.getJob('parent'))?.returnvalue).toEqual({ child: 5, 'done child': 6 });
    expect([await state('failed'), await state('tick'), await state('paused')]).toEqual([
      'failed',
      'delayed',
      'waiting',
    ]);
    expect(await queue.getSchedules()).toMatchObject([{ key: 'hourly', everyMs: 3_600_000 }]);
    const range = { from: new Date(Date.now() - 24 * 3_600_000), to: new Date() };
    const hours = await store.getMetrics('live', { granularity: 'hour', ...range });
    expect(hours.map(({ completedCount }) => completedCount)).toContain(7);
  });
});

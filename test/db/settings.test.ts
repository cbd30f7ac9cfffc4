/** Settings of a database, or of a role in it, that an administrator may have changed: none changes what the store does. */
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterEach, expect, it } from 'vitest';
import { FlowProducer, type Job, type Logger, PgStore, Queue, Worker } from '../../src/index.js';
import { createDatabase } from '../support/database.js';
import { until } from '../support/until.js';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const PROGRESS = 100 / 3;
const NEW_YEAR = new Date('2024-12-31T23:59:59.999Z');

/** Uses most of what there is, and tells what came of it. */
async function useAll(url: string, schema: string | undefined) {
  const problems: string[] = [];
  const told = (message: string) => void problems.push(message);
  const logger: Logger = { debug() {}, info() {}, warn: told, error: told };
  const store = new PgStore({ connection: url, logger, metrics: { enabled: true }, ...(schema && { schema }) });
  closing.push(() => store.disconnect());
  await store.connect();
  const [queue, flows] = [new Queue('queue', { store }), new FlowProducer({ store })];
  const run = async (job: Job) => {
    if (job.name === 'fail' && job.attemptsMade === 0) throw new Error('once');
    if (job.name === 'progress') await job.updateProgress(PROGRESS);
    if (job.name === 'parent') return await job.getChildrenValues();
    return { at: NEW_YEAR, data: job.data };
  };
  const workers = [1, 2].map(() => new Worker('queue', run, { store, concurrency: 5, stalledInterval: 200 }));
  for (const worker of workers) {
    worker.on('error', (error) => told(error.message));
    closing.push(() => worker.close(0));
  }
  const bulk = await queue.addBulk(Array.from({ length: 200 }, (_, data) => ({ name: 'work', data })));
  const [progress, fail, delayed, duplicate] = await Promise.all([
    queue.add('progress', null),
    queue.add('fail', null, { attempts: 2, backoff: { type: 'fixed', delay: 10 } }),
    queue.add('work', 'delayed', { delay: 50 }),
    queue.add('work', 'far', { delay: 3_600_000, deduplication: { key: 'k' } }),
  ]);
  const again = await queue.add('work', 'far', { deduplication: { key: 'k' } });
  const flow = await flows.add({
    name: 'parent',
    queueName: 'queue',
    data: null,
    children: [1, 2].map((data) => ({ name: 'work', queueName: 'queue', data })),
  });
  const ticks = await queue.every('100ms', 'tick', null, { repeat: { limit: 1 } });
  const parent = (await queue.getJob(flow.job.id)) as Job;
  await Promise.all([...bulk, progress, fail, delayed, parent, ticks].map((job) => job.waitUntilFinished(20_000)));
  await until(async () => (await queue.count('completed')) === 208, { timeout: 20_000 });
  const hour = 3_600_000;
  const metrics = await store.getMetrics('queue', {
    granularity: 'minute',
    from: new Date(Date.now() - hour),
    to: new Date(Date.now() + hour),
  });
  const total = metrics.filter(({ jobName }) => jobName === '__all__');
  const found = await store.searchJobs({ queueName: 'queue', createdAfter: new Date(Date.now() - hour) });
  const failed = (await queue.getJob(fail.id))?.attemptLogs[0];
  return {
    problems,
    counts: await queue.getJobCounts(),
    progress: (await queue.getJob(progress.id))?.progress,
    result: (await queue.getJob(delayed.id))?.returnvalue,
    parent: Object.values((await queue.getJob(parent.id))?.returnvalue as object),
    deduplicated: again.id === duplicate.id,
    inAnHour: Math.abs((duplicate.delayUntil as Date).getTime() - Date.now() - hour) < 60_000,
    recorded: Math.abs(Date.parse(failed?.startedAt ?? '') - Date.now()) < 60_000,
    measured: total.reduce((sum, { completedCount }) => sum + completedCount, 0),
    found: found.total,
    cleaned: await queue.clean('completed', 0),
  };
}

const EXPECTED = {
  problems: [],
  counts: { waiting: 0, 'waiting-children': 0, delayed: 1, active: 0, failed: 0, completed: 208 },
  progress: PROGRESS,
  result: { at: NEW_YEAR.toISOString(), data: 'delayed' },
  parent: [1, 2].map((data) => ({ at: NEW_YEAR.toISOString(), data })),
  deduplicated: true,
  inAnHour: true,
  recorded: true,
  measured: 208,
  found: 209,
  cleaned: 208,
};

it.each([
  ['TimeZone', 'America/St_Johns'],
  ['TimeZone', 'Asia/Kolkata'],
  ['DateStyle', 'German, DMY'],
  ['DateStyle', 'SQL, MDY'],
  ['IntervalStyle', 'sql_standard'],
  ['extra_float_digits', '-3'],
  ['default_transaction_isolation', 'serializable'],
  ['default_transaction_isolation', 'repeatable read'],
  ['default_transaction_deferrable', 'on'],
  ['statement_timeout', '300'],
  ['lock_timeout', '5'],
  ['idle_in_transaction_session_timeout', '100'],
  ['row_security', 'off'],
  ['transform_null_equals', 'on'],
  ['standard_conforming_strings', 'off'],
  ['plan_cache_mode', 'force_custom_plan'],
  ['synchronous_commit', 'off'],
  ['search_path', 'elsewhere, public'],
])('%s = %s', async (setting, value) => {
  const database = await createDatabase({ empty: true });
  const admin = postgres(database.url, { max: 1, onnotice: () => {} });
  closing.push(async () => {
    await admin.end({ timeout: 1 });
    await database.drop();
  });
  await admin.unsafe('create schema elsewhere');
  const name = new URL(database.url).pathname.slice(1);
  const list = setting === 'search_path' ? value : `'${value}'`;
  await admin.unsafe(`alter database "${name}" set ${setting} to ${list}`);
  expect(await useAll(database.url, setting === 'search_path' ? 'public' : undefined)).toEqual(EXPECTED);
});

it('of an app’s client, another isolation is told', async () => {
  const database = await createDatabase();
  const client = postgres(database.url, {
    max: 3,
    onnotice: () => {},
    connection: { default_transaction_isolation: 'serializable' },
  });
  const told: string[] = [];
  const logger: Logger = { debug() {}, info() {}, warn: (message) => void told.push(message), error() {} };
  const store = new PgStore({ db: drizzle(client), autoMigrate: false, listen: false, logger });
  closing.push(async () => {
    await store.disconnect();
    await client.end({ timeout: 1 });
    await database.drop();
  });
  await store.connect();
  expect(told).toEqual([expect.stringMatching(/"serializable" by default.*default_transaction_isolation/)]);
});

/**
 * Effects in the transaction that completes the job happen once, whatever dies meanwhile. A backend that dies inside
 * `db.transaction()` over postgres.js takes its process with it, so the workers are processes that are started again.
 */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, inject, test } from 'vitest';
import { PgStore, Queue } from '../../src/index.js';
import { useDatabase } from '../support/database.js';
import { type Script, spawnScript } from '../support/process.js';
import { until } from '../support/until.js';

const database = useDatabase();
const JOBS = Number(process.env['CONVEYOR_EXACTLY_ONCE_JOBS'] ?? 2_000);
const WORKERS = 3;
/** So many jobs after another, something dies. */
const JOBS_PER_DEATH = 40;

test(`${JOBS} jobs count to ${JOBS}, workers killed and backends terminated throughout`, {
  timeout: 600_000,
}, async () => {
  const { sql, url } = database;
  await sql`create table counter (n int not null)`;
  await sql`insert into counter values (0)`;
  await sql`create table effects (job_id text not null)`;
  const script = await bundled(new URL('./counter-worker.script.ts', import.meta.url).pathname);

  const store = new PgStore({ connection: url });
  await store.connect();
  const queue = new Queue<null>('counted', { store });
  // A backend that dies is a failed attempt: there must be enough of them.
  const opts = { attempts: 1_000, backoff: { type: 'fixed', delay: 10 } } as const;
  await queue.addBulk(Array.from({ length: JOBS }, () => ({ name: 'count', data: null, opts })));

  let over = false;
  const died = { killed: 0, terminated: 0, crashed: 0 };
  const workers: (Script | undefined)[] = new Array(WORKERS).fill(undefined);
  const keep = async (i: number) => {
    while (!over) {
      const worker = spawnScript(script, { env: { DATABASE_URL: url } });
      workers[i] = worker;
      if ((await worker.exit) !== 'SIGKILL') died.crashed++;
    }
  };
  const kept = workers.map((_, i) => keep(i));
  const strike = async () => {
    if (Math.random() < 0.3) {
      if (!workers[Math.floor(Math.random() * WORKERS)]?.child.kill('SIGKILL')) return false;
      died.killed++;
      return true;
    }
    const { count } = await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'counter' order by random() limit 1`;
    died.terminated += count;
    return count > 0;
  };
  const chaos = async () => {
    for (let count = JOBS_PER_DEATH; count < JOBS; count += JOBS_PER_DEATH) {
      await until(async () => (await queue.count('completed')) >= count, { timeout: 60_000, what: `${count} jobs` });
      await until(strike, { what: 'something to be there that can die' });
    }
  };
  await chaos();
  await until(async () => (await queue.count('completed')) === JOBS, { timeout: 60_000, what: 'all jobs to complete' });
  over = true;
  await Promise.all(workers.map((worker) => worker?.kill()));
  await Promise.all(kept);

  expect(await sql`select n from counter`).toEqual([{ n: JOBS }]);
  expect(await sql`select count(*)::int, count(distinct job_id)::int as jobs from effects`).toEqual([
    { count: JOBS, jobs: JOBS },
  ]);
  expect(await queue.getJobCounts()).toMatchObject({ completed: JOBS, failed: 0, active: 0, waiting: 0, delayed: 0 });
  expect(died.killed + died.terminated).toBe(Math.floor((JOBS - 1) / JOBS_PER_DEATH));
  await store.disconnect();
});

/** As one file: a process that dies often should start fast. */
async function bundled(source: string): Promise<string> {
  const outfile = join(mkdtempSync(join(inject('scratch'), 'counter-')), 'worker.mjs');
  await build({
    entryPoints: [source],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    logLevel: 'error',
    tsconfig: new URL('../../tsconfig.json', import.meta.url).pathname,
  });
  return outfile;
}

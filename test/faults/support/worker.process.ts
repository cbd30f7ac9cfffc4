// A worker process of a drill: runs jobs as their data says, and writes what it did to the oracle's tables.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql as query } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { type Job, PgStore, type PgStoreOptions, Worker, type WorkerOptions } from '../../../src/index.js';
import { type ProducePlan, produce } from './produce.js';
import { randomFrom } from './random.js';

/** The data of a job: what its handler does. */
export interface Task {
  tag?: string;
  /** Work, in ms: between these. */
  ms: [number, number];
  /** Completes in the transaction of its effect. Default: the effect is written beside the job. */
  together?: boolean;
  /** One time in so many, its transaction is rolled back, or the handler throws after its commit. */
  trouble?: number;
  /** Heeds its signal, instead of writing on. */
  heeds?: boolean;
  /** Writes progress and a log line after its work. */
  writes?: boolean;
  fails?: boolean;
  /** Fails at the first attempt. */
  failsOnce?: boolean;
  /** Returns the values of its children. */
  parent?: boolean;
}

export interface WorkerPlan {
  url: string;
  /** Where the oracle's tables are, if not there. */
  oracle?: string;
  seed: number;
  queues: { name: string; options?: Omit<WorkerOptions, 'store' | 'batch'> }[];
  store?: Partial<PgStoreOptions>;
  /** What it adds when it starts. */
  produce?: ProducePlan;
}

const plan = JSON.parse(process.env['DRILL_PLAN']!) as WorkerPlan;
const random = randomFrom(plan.seed);
const tell = (kind: string, more: object = {}) => void process.send?.({ kind, at: Date.now(), ...more });
const log = postgres(plan.oracle ?? plan.url, {
  max: 2,
  onnotice: () => {},
  backoff: () => 0.1,
  connection: { application_name: 'oracle', synchronous_commit: 'off' },
});
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

process.on('disconnect', () => process.exit(0));
for (const end of ['unhandledRejection', 'uncaughtException'] as const) {
  process.on(end, (error) => {
    console.error(end, error);
    process.exit(70);
  });
}

const together = plan.queues.some(({ name }) => name.startsWith('together'));
const client = together ? postgres(plan.url, { max: 7, onnotice: () => {} }) : undefined;
const db = client && drizzle(client);
const store = new PgStore({
  ...(db ? { db } : { connection: plan.url }),
  autoMigrate: false,
  logger: quiet,
  ...plan.store,
});

const codeOf = (error: unknown): string => {
  const { code, cause } = error as { code?: string; cause?: unknown };
  return code ?? (cause ? codeOf(cause) : String(error));
};

async function handle(job: Job<Task>, signal: AbortSignal): Promise<unknown> {
  const task = job.data;
  const run = randomUUID();
  const lost = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => {
      tell('aborted', { run, job: job.id, why: codeOf(signal.reason) });
      resolve();
      log`update drill_run set aborted = clock_timestamp(), why = ${codeOf(signal.reason)} where run = ${run}`.catch(
        () => {},
      );
    });
  });
  await log`insert into drill_run (run, queue, job_id, tag, grp, pid, claimed) values (${run}, ${job.queueName}, ${job.id},
    ${task.tag ?? null}, ${job.groupId}, ${process.pid}, ${job.processedAt})`;
  const values = task.parent ? await job.getChildrenValues() : undefined;
  const work = sleep(random.int(...task.ms));
  await (task.heeds ? Promise.race([work, lost]) : work);
  if (task.writes) {
    await attempt(run, job.id, 'progress', () => job.updateProgress(50));
    await attempt(run, job.id, 'log', () => job.log(run));
  }
  if (task.together && !task.fails) await effectTogether(job, { run, tag: task.tag, values });
  await log`with effect as (
      insert into drill_effect (job_id, run) select ${job.id}, ${run} where ${!task.together && !task.fails})
    update drill_run set ended = clock_timestamp() where run = ${run}`;
  if (task.fails || (task.failsOnce && job.attemptsMade === 0)) throw new Error('fails by the plan');
  return { run, tag: task.tag, values };
}

/** A write of a worker, and whether it was accepted. */
async function attempt(run: string, job: string, kind: string, write: () => Promise<unknown>): Promise<string | null> {
  const [row] = await log`select clock_timestamp()::text as t`;
  const code = await write().then(
    () => null,
    (error) => codeOf(error),
  );
  await log`insert into drill_write (run, job_id, kind, asked, accepted, code)
    values (${run}, ${job}, ${kind}, ${row?.['t']}::text::timestamptz, ${code === null}, ${code})`;
  return code;
}

async function effectTogether(job: Job<Task>, result: { run: string; tag: unknown; values: unknown }): Promise<void> {
  const { run } = result;
  const { trouble = 0 } = job.data;
  const [before, after] = [trouble > 0 && random.int(1, trouble) === 1, trouble > 0 && random.int(1, trouble) === 1];
  const refused = await attempt(run, job.id, 'completeIn', () =>
    db!.transaction(async (tx) => {
      await tx.execute(query`insert into drill_effect (job_id, run) values (${job.id}, ${run})`);
      await sleep(random.int(0, 5));
      await job.completeIn(tx, result);
      await sleep(random.int(0, 5));
      if (before) throw Object.assign(new Error('rolled back by the plan'), { code: 'BY_PLAN' });
    }),
  );
  if (refused || after) throw new Error(refused ?? 'fails by the plan');
}

for (;;) {
  try {
    await store.connect();
    break;
  } catch (error) {
    tell('refused', { code: codeOf(error) });
    await sleep(200);
  }
}
for (const { name, options } of plan.queues) {
  const worker = new Worker<Task>(name, (job, signal) => handle(job as Job<Task>, signal), { store, ...options });
  worker.on('error', (error) => tell('error', { code: codeOf(error) }));
  worker.on('completed', ({ job, result }) =>
    tell('completed', { job: job.id, run: (result as { run?: string } | undefined)?.run }),
  );
}
if (plan.produce) await produce(plan.produce, store, log, tell);
tell('ready');

/**
 * A queue at work: a producer, two workers and a listener, each a process of its own, on one Postgres.
 *
 *   npm run quickstart              with a Postgres that is started for it
 *   npm run quickstart -- --kill    and one worker is killed half-way
 *   DATABASE_URL=… npm run quickstart
 *
 * Read queue.ts, producer.ts and worker.ts first: they are what an app has. This file only starts them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { drizzle } from 'drizzle-orm/postgres-js';
import { type Database, openDatabase } from './database.js';
import { type Child, start } from './processes.js';
import { AMOUNT } from './queue.js';
import { countBusyWorkers, countCompleted, type Db, examine, printTable } from './report.js';

const kill = process.argv.includes('--kill');
const children: Child[] = [];
let interrupted = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted = true;
    for (const child of children) void child.stop();
  });
}

let database: Database | undefined;
let db: Db | undefined;
try {
  database = await openDatabase();
  db = drizzle(database.url);
  const problems = await play(database, db);
  process.exitCode = (await report(db, problems)) ? 0 : 1;
} catch (error) {
  console.error(interrupted ? '✘ interrupted' : `✘ ${(error as Error).message}`);
  process.exitCode = interrupted ? 130 : 1;
} finally {
  await Promise.all(children.map((child) => child.stop()));
  await db?.$client.end();
  await database?.close();
}

/** Runs until the producer has seen all its jobs finish; returns the processes that ended in an unexpected way. */
async function play({ url, queue }: Database, db: Db): Promise<string[]> {
  const run = (name: string, file: string) => {
    if (interrupted) throw new Error('interrupted');
    const child = start(name, file, { DATABASE_URL: url, QUEUE: queue });
    children.push(child);
    return child;
  };
  const listener = run('listener', './listener.ts');
  const survivor = run('worker 1', './worker.ts');
  const victim = run('worker 2', './worker.ts');
  await Promise.all([listener.ready, survivor.ready, victim.ready]);

  const producer = run('producer', './producer.ts');
  if (kill) await killHalfway(victim, producer, db);
  await Promise.race([producer.ended, survivor.ended, listener.ended]);
  if (interrupted) throw new Error('interrupted');

  const problems: string[] = [];
  for (const child of children) {
    const how = await child.stop();
    const expected = how === 0 || how === 'SIGTERM' || (kill && child === victim);
    if (!expected) problems.push(`${child.name} ended with ${how}`);
  }
  return problems;
}

async function killHalfway(victim: Child, producer: Child, db: Db): Promise<void> {
  const half = (AMOUNT.welcome + AMOUNT.reminder + AMOUNT.invoice) / 2;
  let over = false;
  void producer.ended.then(() => {
    over = true;
  });
  const halfway = async () => (await countCompleted(db)) >= half && (await countBusyWorkers(db)) === 2;
  while (!over && !(await halfway())) await sleep(10);
  console.log('main     │ kills worker 2');
  await victim.stop('SIGKILL');
}

/** Prints the outcome; true if it is as expected. */
async function report(db: Db, problems: string[]): Promise<boolean> {
  console.log();
  await printTable(db);
  console.log();
  const found = await examine(db);
  problems.push(...found.problems);
  if (problems.length > 0) {
    console.log(['✘ Something is wrong:', ...problems].join('\n  '));
    return false;
  }
  if (kill) console.log(`✔ worker 2 was killed with ${found.stalled} jobs in its hands, and worker 1 ran them again.`);
  console.log(`✔ All ${found.jobs} jobs completed exactly once.`);
  if (found.repeated === 0) console.log('✔ Every mail was sent exactly once.');
  else console.log(`  Sent twice: ${found.repeated}. What a worker did before it died, the next one does again.`);
  return true;
}

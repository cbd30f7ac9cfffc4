/** Asks the queue's tables what became of the jobs, with typed Drizzle queries. */
import { avg, count, countDistinct, eq, sql } from 'drizzle-orm';
import type { drizzle } from 'drizzle-orm/postgres-js';
import { AMOUNT } from './queue.js';
import { conveyorJobs, deliveries } from './schema.js';

export type Db = ReturnType<typeof drizzle>;

export async function countCompleted(db: Db): Promise<number> {
  return db.$count(conveyorJobs, eq(conveyorJobs.state, 'completed'));
}

export async function countBusyWorkers(db: Db): Promise<number> {
  const [row] = await db.select({ workers: countDistinct(conveyorJobs.lockedBy) }).from(conveyorJobs);
  return row?.workers ?? 0;
}

export async function printTable(db: Db): Promise<void> {
  const took = sql<number>`extract(epoch from ${conveyorJobs.completedAt} - ${conveyorJobs.processedAt}) * 1000`;
  const rows = await db
    .select({
      queue: conveyorJobs.queueName,
      job: conveyorJobs.name,
      state: conveyorJobs.state,
      count: count(),
      meanMs: avg(took).mapWith(Number),
    })
    .from(conveyorJobs)
    .groupBy(conveyorJobs.queueName, conveyorJobs.name, conveyorJobs.state)
    .orderBy(conveyorJobs.queueName, conveyorJobs.name, conveyorJobs.state);

  printRow('queue', 'job', 'state', 'count', 'mean duration');
  for (const { queue, job, state, count, meanMs } of rows) {
    printRow(queue, job, state, count, meanMs === null ? '–' : `${Math.round(meanMs)} ms`);
  }
}

function printRow(queue: string, job: string, state: string, count: string | number, duration: string): void {
  console.log(
    `${queue.padEnd(16)}${job.padEnd(11)}${state.padEnd(12)}${String(count).padStart(5)}${duration.padStart(16)}`,
  );
}

export interface Findings {
  readonly jobs: number;
  /** Whatever is not as it must be; empty when all is well. */
  readonly problems: string[];
  /** Jobs whose worker was lost while it ran them. */
  readonly stalled: number;
  /** Jobs that a lost worker and then another one carried out. */
  readonly repeated: number;
}

/** Every job must have completed, once. What a handler does may happen twice only where a worker was lost. */
export async function examine(db: Db): Promise<Findings> {
  const jobs = await db
    .select({
      id: conveyorJobs.id,
      name: conveyorJobs.name,
      state: conveyorJobs.state,
      attempts: conveyorJobs.attemptLogs,
      losses: conveyorJobs.stalledCount,
      deliveries: db.$count(deliveries, eq(deliveries.jobId, conveyorJobs.id)),
    })
    .from(conveyorJobs);

  const problems: string[] = [];
  for (const [name, amount] of Object.entries(AMOUNT)) {
    const found = jobs.filter((job) => job.name === name).length;
    if (found !== amount) problems.push(`there are ${found} ${name} jobs, not ${amount}`);
  }
  for (const { id, name, state, attempts, losses, deliveries } of jobs) {
    const failures = attempts.filter(({ status }) => status === 'failed').length;
    // The row of a job that completed at its first attempt says all that a record would: none is stored.
    const completions = attempts.length === 0 ? 1 : attempts.length - failures;
    const expectedFailures = name === 'invoice' ? 2 : 0;
    if (state !== 'completed') {
      problems.push(`${id} is ${state}`);
      continue;
    }
    if (completions !== 1) problems.push(`${id} completed ${completions} times`);
    if (failures !== expectedFailures) problems.push(`${id} failed ${failures} times, not ${expectedFailures}`);
    if (deliveries < 1 || deliveries > 1 + losses) problems.push(`${id} was sent ${deliveries} times`);
  }
  return {
    jobs: jobs.length,
    problems,
    stalled: jobs.filter(({ losses }) => losses > 0).length,
    repeated: jobs.filter(({ deliveries }) => deliveries > 1).length,
  };
}

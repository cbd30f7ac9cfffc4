// retries.ts
import { and, asc, gt, inArray, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

export const retries = () =>
  db
    .select({
      queue: jobs.queueName,
      id: jobs.id,
      job: jobs.name,
      failedAttempts: jobs.attemptsMade,
      attempts: sql<number | null>`(${jobs.opts}->>'attempts')::int`,
      next: jobs.delayUntil,
      lastError: sql<string | null>`${jobs.attemptLogs}->-1->>'error'`,
    })
    .from(jobs)
    .where(and(inArray(jobs.state, ['delayed', 'waiting']), gt(jobs.attemptsMade, 0)))
    .orderBy(asc(jobs.delayUntil))
    .limit(100);

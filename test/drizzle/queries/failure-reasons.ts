// failure-reasons.ts
import { and, count, desc, eq, gte, max, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

export const failureReasons = () =>
  db
    .select({
      queue: jobs.queueName,
      job: jobs.name,
      reason: jobs.failedReason,
      jobs: count(),
      latest: max(jobs.failedAt),
    })
    .from(jobs)
    .where(and(eq(jobs.state, 'failed'), gte(jobs.failedAt, sql`now() - interval '1 hour'`)))
    .groupBy(jobs.queueName, jobs.name, jobs.failedReason)
    .orderBy(desc(count()))
    .limit(20);

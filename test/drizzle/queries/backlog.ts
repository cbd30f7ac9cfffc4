// backlog.ts
import { count, desc, eq, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

const oldestWait = sql`extract(epoch from now() - min(${jobs.createdAt}))`;

export const backlog = () =>
  db
    .select({ queue: jobs.queueName, waiting: count(), oldestSeconds: oldestWait.mapWith(Number) })
    .from(jobs)
    .where(eq(jobs.state, 'waiting'))
    .groupBy(jobs.queueName)
    .orderBy(desc(oldestWait));

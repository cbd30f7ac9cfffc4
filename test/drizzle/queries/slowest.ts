// slowest.ts
import { and, count, desc, eq, gte, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

const ms = sql`extract(epoch from ${jobs.completedAt} - ${jobs.processedAt}) * 1000`;
const p95 = sql`percentile_cont(0.95) within group (order by ${ms})`;

export const slowest = () =>
  db
    .select({
      job: jobs.name,
      jobs: count(),
      p50: sql`percentile_cont(0.5) within group (order by ${ms})`.mapWith(Number),
      p95: p95.mapWith(Number),
      max: sql`max(${ms})`.mapWith(Number),
    })
    .from(jobs)
    .where(and(eq(jobs.state, 'completed'), gte(jobs.completedAt, sql`now() - interval '1 day'`)))
    .groupBy(jobs.name)
    .orderBy(desc(p95));

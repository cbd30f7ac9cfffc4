// throughput.ts
import { desc, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

const ended = sql`coalesce(${jobs.completedAt}, ${jobs.failedAt})`;
const minute = sql`date_trunc('minute', ${ended})`;

export const throughput = (queueName: string) =>
  db
    .select({
      minute: minute.mapWith(jobs.completedAt),
      completed: sql`count(*) filter (where ${jobs.state} = 'completed')`.mapWith(Number),
      failed: sql`count(*) filter (where ${jobs.state} = 'failed')`.mapWith(Number),
    })
    .from(jobs)
    .where(
      sql`${jobs.queueName} = ${queueName} and (
        ${jobs.state} = 'completed' and ${jobs.completedAt} >= now() - interval '1 hour'
        or ${jobs.state} = 'failed' and ${jobs.failedAt} >= now() - interval '1 hour')`,
    )
    .groupBy(minute)
    .orderBy(desc(minute));

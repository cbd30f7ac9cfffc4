// jobs-of-user.ts
import { desc, eq, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';
import { users } from './schema.js';

export const jobsOfUser = (email: string) =>
  db
    .select({ email: users.email, job: jobs })
    .from(users)
    .innerJoin(jobs, sql`${jobs.data}->>'userId' = ${users.id}::text`)
    .where(eq(users.email, email))
    .orderBy(desc(jobs.createdAt))
    .limit(50);

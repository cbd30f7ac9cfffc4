// retry-failed.ts
import { InvalidJobStateError, JobNotFoundError } from '@conveyor/store-pg';
import { and, asc, eq, gt, ilike } from 'drizzle-orm';
import { db, jobs, queue } from './db.js';

/** Finds them with Drizzle, and lets each start over by the queue's own verb. */
export async function retryFailed(reason: string): Promise<number> {
  let retried = 0;
  for (let after = ''; ; ) {
    const found = await db
      .select({ id: jobs.id })
      .from(jobs)
      .where(
        and(
          eq(jobs.queueName, queue.name),
          eq(jobs.state, 'failed'),
          ilike(jobs.failedReason, reason),
          gt(jobs.id, after),
        ),
      )
      .orderBy(asc(jobs.id))
      .limit(500);
    const last = found.at(-1);
    if (!last) return retried;
    after = last.id;
    for (const { id } of found) {
      try {
        await (await queue.getJob(id))?.retry();
        retried++;
      } catch (error) {
        // Somebody else was faster.
        if (!(error instanceof InvalidJobStateError || error instanceof JobNotFoundError)) throw error;
      }
    }
  }
}

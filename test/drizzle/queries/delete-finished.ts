// delete-finished.ts
import { and, eq, inArray, isNull, lt, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

/** Deletes finished jobs of one name, a thousand at a time. */
export async function deleteFinished(queueName: string, name: 'welcome' | 'digest', days: number): Promise<number> {
  const filter = and(
    eq(jobs.queueName, queueName),
    eq(jobs.name, name),
    eq(jobs.state, 'completed'),
    lt(jobs.completedAt, sql`now() - make_interval(days => ${days})`),
    // A parent may still want to read what its children returned.
    isNull(jobs.parentId),
  );
  let deleted = 0;
  for (;;) {
    const some = db.select({ id: jobs.id }).from(jobs).where(filter).limit(1_000);
    const gone = await db
      .delete(jobs)
      .where(and(filter, inArray(jobs.id, some)))
      .returning({ id: jobs.id });
    if (gone.length === 0) return deleted;
    deleted += gone.length;
  }
}

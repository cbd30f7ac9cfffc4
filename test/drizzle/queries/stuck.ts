// stuck.ts
import { asc, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

const why = sql<string | null>`case
  when ${jobs.state} = 'active' and ${jobs.lockUntil} < now() - interval '2 minutes' then 'its lease ran out: no worker of this queue is there to return it'
  when ${jobs.state} = 'active' and ${jobs.processedAt} < now() - interval '1 hour' then 'its handler has been running for over an hour'
  when ${jobs.state} = 'delayed' and ${jobs.delayUntil} < now() - interval '2 minutes' then 'it is due: no worker of this queue is there to promote it'
  when ${jobs.state} = 'waiting' and ${jobs.createdAt} < now() - interval '1 day' then 'it has been waiting for over a day'
  when ${jobs.state} = 'waiting-children' and ${jobs.createdAt} < now() - interval '1 day' then 'its children have taken over a day'
end`;

export const stuck = () =>
  db
    .select({ queue: jobs.queueName, id: jobs.id, job: jobs.name, state: jobs.state, lockedBy: jobs.lockedBy, why })
    .from(jobs)
    .where(sql`${jobs.state} in ('active', 'delayed', 'waiting', 'waiting-children') and ${why} is not null`)
    .orderBy(asc(jobs.createdAt))
    .limit(100);

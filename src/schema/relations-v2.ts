/**
 * Relations for drizzle-orm 1.x: `drizzle(client, { relations: { ...relations, ...conveyorRelations } })`, and
 * `db.query.conveyorJobs.findMany({ with: { children: true } })` reads a job with its children.
 */
import { defineRelationsPart } from 'drizzle-orm';
import { conveyorJobs } from './index.js';
import type { ConveyorTables } from './tables.js';

/** The same for tables of a Postgres schema of their own. */
export function defineConveyorRelations(jobs: ConveyorTables['conveyorJobs']) {
  return defineRelationsPart({ conveyorJobs: jobs }, (r) => ({
    conveyorJobs: {
      /** The job that waits for this one, if there is one and it is still there. */
      parent: r.one.conveyorJobs({
        from: [r.conveyorJobs.parentQueueName, r.conveyorJobs.parentId],
        to: [r.conveyorJobs.queueName, r.conveyorJobs.id],
      }),
      /** The jobs that this one waits for, of any queues; removed ones are gone. */
      children: r.many.conveyorJobs({
        from: [r.conveyorJobs.queueName, r.conveyorJobs.id],
        to: [r.conveyorJobs.parentQueueName, r.conveyorJobs.parentId],
      }),
    },
  }));
}

export const conveyorRelations = defineConveyorRelations(conveyorJobs);

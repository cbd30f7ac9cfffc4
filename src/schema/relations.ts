/**
 * Relations for `relations()` of drizzle-orm 0.x: `export * from '@conveyor/store-pg/relations'` in the schema that
 * `drizzle()` gets, and `db.query.conveyorJobs.findMany({ with: { children: true } })` reads a job with its children.
 */
import { relations } from 'drizzle-orm';
import { conveyorJobs } from './index.js';
import type { ConveyorTables } from './tables.js';

const FLOW = 'conveyor_flow';

/** The same for tables of a Postgres schema of their own. */
export function defineConveyorRelations(jobs: ConveyorTables['conveyorJobs']) {
  return relations(jobs, ({ one, many }) => ({
    /** The job that waits for this one, if there is one and it is still there. */
    parent: one(jobs, {
      relationName: FLOW,
      fields: [jobs.parentQueueName, jobs.parentId],
      references: [jobs.queueName, jobs.id],
    }),
    /** The jobs that this one waits for, of any queues; removed ones are gone. */
    children: many(jobs, { relationName: FLOW }),
  }));
}

export const conveyorJobsRelations = defineConveyorRelations(conveyorJobs);

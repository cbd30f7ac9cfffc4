/**
 * The conveyor tables as Drizzle tables. Put `export * from '@conveyor/store-pg/schema'` into your app's schema and
 * drizzle-kit keeps them with your own.
 */
import { type ConveyorTables, defineConveyor } from './tables.js';
import type { TypedJobs } from './typed.js';

export type { AttemptRecord, JobOptions, JobState } from '../model/job.js';
export type { JobMap, Payload } from '../model/job-types.js';
export type { Jsonify } from '../model/jsonify.js';
export { type ConveyorTables, defineConveyor, type JobsTable, type SchemaTables } from './tables.js';
export type { JobRow, TypedJobs } from './typed.js';

// drizzle-kit sees only what a schema file exports at its top level.
export const {
  conveyorJobs,
  conveyorPausedNames,
  conveyorGroupCursors,
  conveyorRateLimits,
  conveyorSchedules,
  conveyorMetrics,
  conveyorMigrations,
} = defineConveyor();

/**
 * The same table, with the data of its jobs typed by their names: `typedJobs<JobMap<{ welcome: { userId: number } }>>()`.
 * A type only: nothing is checked at run time, and jobs of other names are read as well unless a `where` excludes them.
 */
export function typedJobs<Registry>(jobs: ConveyorTables['conveyorJobs'] = conveyorJobs): TypedJobs<Registry> {
  return jobs as unknown as TypedJobs<Registry>;
}

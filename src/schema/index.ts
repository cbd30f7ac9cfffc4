/**
 * The conveyor tables as Drizzle tables. Put `export * from '@conveyor/store-pg/schema'` into your app's schema and
 * drizzle-kit keeps them with your own.
 */
import { defineConveyor } from './tables.js';

export type { AttemptRecord, JobOptions, JobState } from '../model/job.js';
export { type ConveyorTables, defineConveyor } from './tables.js';

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

import type { DataOf, JobName, ResultOf } from '../model/job-types.js';
import type { JobsTable } from './tables.js';

/** The jobs table with each job's data and result typed by its name: a row's `name` tells what its `data` is. */
export type TypedJobs<Registry> = {
  [N in JobName<Registry>]: JobsTable<N, DataOf<Registry, N>, ResultOf<Registry, N>>;
}[JobName<Registry>];

/** A row of the jobs table, as `db.select().from(conveyorJobs)` reads it; with a registry, one of its jobs. */
export type JobRow<Registry = unknown> = TypedJobs<Registry>['$inferSelect'];

import type { JobOptions } from '../../model/job.js';
import type { DataOf, InputOf, JobName, ResultOf } from '../../model/job-types.js';
import type { Logger } from '../../model/logger.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { Job } from '../job/job.js';
import type { JobOf, SchemasFor } from '../job/typed-job.js';

// biome-ignore lint/suspicious/noExplicitAny: options of a queue of any jobs
export interface QueueOptions<T = any> {
  store: PgStore;
  /** Options that apply to each job unless `add` gives them. */
  defaultJobOptions?: JobOptions;
  logger?: Logger;
  /** Checks data at `add`: one Standard Schema (zod, valibot, arktype, …) per job name. */
  schemas?: SchemasFor<T>;
}

/** The job that `add` returns for a name. */
export type AddedJob<T, N extends string> = Job<DataOf<T, N>, N, ResultOf<T, N>>;

/** With a job map each item's data belongs to its name. */
export type BulkItems<T> = {
  [K in JobName<T>]: { name: K; data: InputOf<T, K>; opts?: JobOptions };
}[JobName<T>][];

export interface QueueEvents<T> {
  waiting: JobOf<T>;
  delayed: JobOf<T>;
  paused: { jobName: string | undefined };
  resumed: { jobName: string | undefined };
  drained: undefined;
  error: unknown;
}

/** A queue inside a transaction of the app. */
export interface TransactionalQueue<T> {
  add<N extends JobName<T>>(name: N, data: InputOf<T, N>, opts?: JobOptions): Promise<AddedJob<T, N>>;
  addBulk(jobs: BulkItems<T>): Promise<JobOf<T>[]>;
}

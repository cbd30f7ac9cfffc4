import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Checked, DataOf, InputOf, IsJobMap, JobMap, JobName } from '../../model/job-types.js';
import type { Job } from './job.js';
import type { JobSchemas } from './schemas.js';

/** A job of `T`: with a job map a union discriminated by `job.name`. */
export type JobOf<T> =
  IsJobMap<T> extends true ? { [K in JobName<T>]: Job<DataOf<T, K>, K> }[JobName<T>] : Job<DataOf<T>>;

/** The job map of schemas: `add` takes the input of a schema, and jobs carry its output. */
export type JobsOfSchemas<S extends JobSchemas> = JobMap<{
  [K in keyof S]: Checked<StandardSchemaV1.InferInput<S[K]>, StandardSchemaV1.InferOutput<S[K]>>;
}>;

/** Schemas that fit `T`. */
export type SchemasFor<T> =
  IsJobMap<T> extends true
    ? { [K in JobName<T>]?: StandardSchemaV1<InputOf<T, K>, DataOf<T, K>> }
    : Record<string, StandardSchemaV1<unknown, DataOf<T>>>;

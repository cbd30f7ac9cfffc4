import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Checked, DataOf, InputOf, IsJobMap, JobMap, JobName } from '../../model/job-types.js';
import type { Job } from './job.js';
import type { JobSchemas } from './schemas.js';

/** A job of `T`: with a job map a union that `job.name` tells apart. */
export type JobOf<T> =
  IsJobMap<T> extends true ? { [K in JobName<T>]: Job<DataOf<T, K>, K> }[JobName<T>] : Job<DataOf<T>>;

/** The jobs that follow from schemas: what `add` takes is what they take, what jobs carry is what they make of it. */
export type JobsOfSchemas<S extends JobSchemas> = JobMap<{
  [K in keyof S]: Checked<StandardSchemaV1.InferInput<S[K]>, StandardSchemaV1.InferOutput<S[K]>>;
}>;

/** Schemas that fit `T`. */
export type SchemasFor<T> =
  IsJobMap<T> extends true
    ? { [K in JobName<T>]?: StandardSchemaV1<InputOf<T, K>, DataOf<T, K>> }
    : Record<string, StandardSchemaV1<unknown, DataOf<T>>>;

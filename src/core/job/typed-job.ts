import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Checked, DataOf, IsJobMap, JobMap, JobName, OutputOf, ResultOf } from '../../model/job-types.js';
import type { Job } from './job.js';
import type { JobSchemas } from './schemas.js';

/** A job of `T`: with a job map a union discriminated by `job.name`. */
export type JobOf<T> = { [K in JobName<T>]: Job<DataOf<T, K>, K, ResultOf<T, K>> }[JobName<T>];

/** What a worker with schemas hands to its handler: a job of `T` whose data is what its schema made of it. */
export type CheckedJobOf<T> = { [K in JobName<T>]: CheckedJob<T, K> }[JobName<T>];

// Names without a schema are not checked, so only a map can tell that data is not as it was read.
type CheckedJob<T, N extends string> =
  IsJobMap<T> extends true
    ? WithOutput<OutputOf<T, N>, DataOf<T, N>, N, ResultOf<T, N>>
    : WithOutput<OutputOf<T, N> | DataOf<T, N>, DataOf<T, N>, N, ResultOf<T, N>>;
type WithOutput<Output, Input, N extends string, R> = [Output] extends [Input]
  ? Job<Output, N, R>
  : Job<Output, N, R> & {
      /** Replaces the payload of a job that has not ended: with what its schema takes, which is checked. */
      updateData(data: Input): Promise<void>;
    };

/** The job map of schemas: `add` takes the input of a schema, and a handler gets its output. */
export type JobsOfSchemas<S extends JobSchemas> = JobMap<{
  [K in keyof S]: Checked<StandardSchemaV1.InferInput<S[K]>, StandardSchemaV1.InferOutput<S[K]>>;
}>;

/**
 * Schemas that fit `T`: their output is what `T` says. Of a job map, names whose data JSON changes must have one, since
 * their handler would otherwise get the JSON form.
 */
export type SchemasFor<T> =
  IsJobMap<T> extends true
    ? { [K in NameAsStored<T>]?: SchemaFor<T, K> } & { [K in Exclude<JobName<T>, NameAsStored<T>>]: SchemaFor<T, K> }
    : Record<string, StandardSchemaV1<unknown, OutputOf<T>>>;
type SchemaFor<T, N extends string> = StandardSchemaV1<unknown, OutputOf<T, N>>;
/** Names whose data is the same whether a schema has made it or JSON. */
type NameAsStored<T> = {
  [K in JobName<T>]: [DataOf<T, K>] extends [OutputOf<T, K>] ? K : never;
}[JobName<T>];

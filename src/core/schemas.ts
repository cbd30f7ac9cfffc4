import type { StandardSchemaV1 } from '@standard-schema/spec';
import { InvalidPayloadError } from '../model/errors.js';

/** Schemas by job name, of any library that follows Standard Schema (https://standardschema.dev). */
export type JobSchemas = Record<string, StandardSchemaV1>;

/** What `add` takes for each job name. */
export type InputOf<S extends JobSchemas> = { [K in keyof S]: StandardSchemaV1.InferInput<S[K]> } & {
  readonly '~jobMap'?: true;
};

/**
 * Checks data against a schema.
 *
 * @returns what the schema makes of it (defaults filled in, strings trimmed)
 * @throws InvalidPayloadError with the path of the first issue
 */
export async function validateData(schema: StandardSchemaV1, data: unknown, jobName: string): Promise<unknown> {
  const result = await schema['~standard'].validate(data);
  if (!result.issues) return result.value;
  const [first] = result.issues;
  const keys = (first?.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));
  const path = keys.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : `${text}.${String(key)}`),
    'data',
  );
  const others = result.issues.length > 1 ? ` (and ${result.issues.length - 1} more)` : '';
  throw new InvalidPayloadError(path, `of job "${jobName}": ${first?.message ?? 'invalid'}${others}`);
}

import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConveyorError, InvalidPayloadError } from '../../model/errors.js';
import { show } from '../../model/text.js';

/** Schemas by job name, of any library that follows Standard Schema (https://standardschema.dev). */
export type JobSchemas = Record<string, StandardSchemaV1>;

/** @throws TypeError unless it is an object of Standard Schemas */
export function checkSchemas(schemas: unknown, option: string): JobSchemas | undefined {
  if (schemas === undefined) return undefined;
  const allowed = 'an object with a Standard Schema (zod, valibot, arktype, …) per job name';
  if (schemas === null || typeof schemas !== 'object' || Array.isArray(schemas)) {
    throw new TypeError(`${option} is ${show(schemas)}; it must be ${allowed}.`);
  }
  for (const [name, schema] of Object.entries(schemas)) {
    if (typeof schema?.['~standard']?.validate !== 'function') {
      throw new TypeError(`${option}[${show(name)}] is not a Standard Schema; ${option} must be ${allowed}.`);
    }
  }
  return schemas as JobSchemas;
}

/** @throws ConveyorError for a job that has none, because its name is most likely misspelt */
export function schemaOf(schemas: JobSchemas, jobName: string, queueName: string): StandardSchemaV1 {
  if (Object.hasOwn(schemas, jobName)) return schemas[jobName] as StandardSchemaV1;
  const known = Object.keys(schemas).join(', ');
  throw new ConveyorError(`Queue "${queueName}" has no schema for jobs named "${jobName}"; it knows ${known}.`, {
    code: 'UNKNOWN_JOB_NAME',
  });
}

/**
 * Checks data against a schema.
 *
 * @returns the schema's output (with defaults filled in, or strings trimmed)
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

import { isDeepStrictEqual } from 'node:util';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ConveyorError, InvalidPayloadError } from '../../model/errors.js';
import { encodePayload } from '../../model/payload/values.js';
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
  const result = await validate(schema, data);
  if (!result.issues) return result.value;
  const { path, problem } = describe(result.issues);
  throw new InvalidPayloadError(path, `of job "${jobName}": ${problem}`);
}

/** The schema of a job, and in a handler what it made of the job's data. */
export interface CheckedData {
  readonly schema: StandardSchemaV1;
  readonly output?: { data: unknown };
}

/** For the jobs of a queue: `updateData` then checks as `add` does. */
export function checkedBy(schemas: JobSchemas | undefined, jobName: string): CheckedData | undefined {
  const schema = schemas && Object.hasOwn(schemas, jobName) ? schemas[jobName] : undefined;
  return schema && { schema };
}

/**
 * Checks what `add` is given: as it is, and as workers will get it, whose schema sees what JSON gives back.
 *
 * @returns that JSON form, which is what is stored, and what the schema makes of it
 * @throws InvalidPayloadError with the path of what does not pass
 */
export async function checkInput(
  schema: StandardSchemaV1,
  data: unknown,
  jobName: string,
  maxBytes: number,
): Promise<{ json: unknown; output: unknown }> {
  const output = await validateData(schema, data, jobName);
  const json: unknown = JSON.parse(encodePayload(data, { path: 'data', maxBytes }));
  if (isDeepStrictEqual(json, data)) return { json, output };
  const result = await validate(schema, json);
  if (!result.issues) return { json, output: result.value };
  const { path, problem } = describe(result.issues);
  throw new InvalidPayloadError(
    path,
    `of job "${jobName}" passes its schema, but not when it comes back from JSON, as workers get it: ${problem}. ` +
      'Use a schema that takes the JSON form, such as z.coerce.date() for a date.',
  );
}

interface ZodLike {
  safeParseAsync?(
    data: unknown,
  ): Promise<
    { success: true; data: unknown } | { success: false; error: { issues: readonly StandardSchemaV1.Issue[] } }
  >;
}

/**
 * zod's Standard Schema parses without waiting first, and drops the promises of refinements that turn out to be async.
 * One that rejects would end the process.
 */
async function validate(schema: StandardSchemaV1, data: unknown): Promise<StandardSchemaV1.Result<unknown>> {
  const { vendor } = schema['~standard'];
  const zod = schema as ZodLike;
  if (vendor !== 'zod' || typeof zod.safeParseAsync !== 'function') return schema['~standard'].validate(data);
  const result = await zod.safeParseAsync(data);
  return result.success ? { value: result.data } : { issues: result.error.issues };
}

/** The path of the first issue, and what is wrong there. */
function describe(issues: readonly StandardSchemaV1.Issue[]): { path: string; problem: string } {
  const [first] = issues;
  const keys = (first?.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));
  const path = keys.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : `${text}.${String(key)}`),
    'data',
  );
  const others = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  return { path, problem: `${first?.message ?? 'invalid'}${others}` };
}

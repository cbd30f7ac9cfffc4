import { type SQL, sql } from 'drizzle-orm';
import { alias, bare, literal, type Tables } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import type { JobData, JobOptions } from '../../model/job.js';
import { inMilliseconds, storableOptions } from '../../model/options/job-options.js';
import { assertJobState, integerIn, validateName } from '../../model/options/names.js';
import { errorText } from '../../model/payload/error-text.js';
import { cleanText, encodeLenient, encodePayload } from '../../model/payload/values.js';
import { show } from '../../model/text.js';
import { type FieldType, fieldsWhere, JOB_FIELDS, type JobFieldName } from '../rows/job-fields.js';

interface Encoding {
  readonly path: string;
  readonly maxBytes: number;
}

/** Checks a value and makes JSON text of it; undefined means to leave the field alone. */
type Encode = (value: unknown, encoding: Encoding) => string | undefined;

const INT_MAX = 2 ** 31 - 1;
const quoted = (text: string) => JSON.stringify(text);
const orNull =
  (encode: Encode): Encode =>
  (value, encoding) =>
    value === null ? 'null' : encode(value, encoding);

const name: Encode = (value, { path }) => quoted(validateName(value, path));
const count: Encode = (value, { path }) => String(integerIn(value, path, 0, INT_MAX));

function time(value: unknown, { path }: Encoding): string {
  const ms = value instanceof Date || typeof value === 'string' ? new Date(value).getTime() : Number(value);
  if (Number.isFinite(ms) && Math.abs(ms) <= 8.64e15) return String(Math.round(ms));
  throw new RangeError(`${path} is ${value instanceof Date ? 'an invalid Date' : show(value)}; it must be a Date.`);
}

function progress(value: unknown, { path }: Encoding): string {
  if (typeof value === 'number' && value >= 0 && value <= 100) return String(value);
  throw new RangeError(`${path} is ${show(value)}; it must be a number from 0 to 100.`);
}

function flag(value: unknown, { path }: Encoding): string {
  if (typeof value === 'boolean') return String(value);
  throw new TypeError(`${path} is ${show(value)}; it must be true or false.`);
}

/** Lists that record what has happened already: nothing about them may undo it. */
function record(value: unknown, { maxBytes }: Encoding): string | undefined {
  if (value === null) return '[]';
  const { text, tooLarge } = encodeLenient(Array.isArray(value) ? value : [value], maxBytes);
  return tooLarge ? undefined : text;
}

function reason(value: unknown): string {
  return quoted(typeof value === 'string' ? cleanText(value) : errorText(value).message);
}

const options: Encode = (value, encoding) =>
  encodePayload(value === null ? {} : storableOptions(inMilliseconds(value as JobOptions)), encoding);

/** What a field of this type takes, unless it has a check of its own. */
const BY_TYPE: Record<FieldType, Encode> = {
  text: orNull(name),
  jsonb: encodePayload,
  int: count,
  bigint: count,
  float8: count,
  boolean: flag,
  time: orNull(time),
};

/** Fields with a check of their own. */
const CHECKS: { readonly [K in JobFieldName]?: Encode } = {
  name,
  state(value) {
    return quoted(assertJobState(value));
  },
  createdAt: time,
  progress,
  // Over the size limit it is null: the job did succeed.
  returnvalue: (value, { maxBytes }) => encodeLenient(value, maxBytes).text,
  failedReason: orNull(reason),
  opts: options,
  logs: record,
  stacktrace: record,
  attemptLogs: record,
};

/** Fields that are not the caller's to change: the key, the place in the queue, the schedule a job belongs to. */
const FIXED: readonly JobFieldName[] = ['id', 'queueName', 'priority', 'scheduleKey'];
const UPDATABLE = fieldsWhere(({ insert }, field) => insert !== 'never' && !FIXED.includes(field));

/**
 * The updates as one JSON object. Fields that are undefined are left out; what records the end of a job is made to
 * fit, everything else is refused where it does not.
 */
export function encodeUpdates(
  updates: Partial<JobData>,
  key: { queueName: string; id: string },
  maxBytes: number,
): string {
  for (const field of ['id', 'queueName'] as const) {
    const wanted = updates[field];
    if (wanted !== undefined && wanted !== key[field]) {
      throw new TypeError(`updates.${field} is ${show(wanted)}; the ${field} of a job cannot change.`);
    }
  }
  const parts: string[] = [];
  for (const field of UPDATABLE) {
    const value = updates[field as keyof JobData];
    if (value === undefined) continue;
    const encode = CHECKS[field] ?? BY_TYPE[JOB_FIELDS[field].type];
    const text = encode(value, { path: `updates.${field}`, maxBytes });
    if (text !== undefined) parts.push(`"${field}":${text}`);
  }
  // The priority is a column of its own: the order of the queue is an index over it.
  if (updates.opts !== undefined) {
    const priority = updates.opts?.priority ?? 0;
    parts.push(`"priority":${integerIn(priority, 'updates.opts.priority', -(2 ** 31), INT_MAX)}`);
  }
  return `{${parts.join(',')}}`;
}

/** What a field will be: the update where there is one, else what it is in row `j`. `u.f` holds the updates. */
export function merged(db: Tables, field: JobFieldName): SQL {
  const key = literal(field);
  return sql`(case when u.f -> ${key} is null then ${alias(db.jobs, 'j')[field]} else ${updated(field, key)} end)`;
}

/** An update's value, as the type of its column. */
function updated(field: JobFieldName, key: SQL): SQL {
  const { type, absent } = JOB_FIELDS[field];
  if (type === 'jsonb') return absent === 'null' ? sql`nullif(u.f -> ${key}, 'null'::jsonb)` : sql`(u.f -> ${key})`;
  if (type === 'time') return instantOf(sql`(u.f ->> ${key})`);
  return sql`(u.f ->> ${key})::${sql.raw(type)}`;
}

/** The assignments of every field that means nothing more than itself. */
export function plainAssignments(db: Tables): SQL {
  const plain = UPDATABLE.filter((field) => field !== 'deduplicationKey' && field !== 'attemptLogs');
  return sql.join(
    plain.map((field) => sql`${bare(db.jobs)[field]} = ${merged(db, field)}`),
    sql`, `,
  );
}

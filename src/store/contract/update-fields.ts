import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import type { JobData, JobOptions } from '../../model/job.js';
import { storableOptions } from '../../model/options/job-options.js';
import { assertJobState, integerIn, validateName } from '../../model/options/names.js';
import { cleanText, encodeLenient, encodePayload, errorText } from '../../model/payload/values.js';
import { show } from '../../model/text.js';

interface Encoding {
  readonly path: string;
  readonly maxBytes: number;
}

/** How a field travels, and how its column reads it; the JSON text undefined means to leave the field alone. */
interface Field {
  encode(value: unknown, encoding: Encoding): string | undefined;
  read(json: SQLWrapper, text: SQLWrapper): SQLWrapper;
}

const INT_MAX = 2 ** 31 - 1;
const quoted = (text: string) => JSON.stringify(text);
const orNull = (encode: Field['encode']): Field['encode'] => {
  return (value, encoding) => (value === null ? 'null' : encode(value, encoding));
};

const asText = (_json: SQLWrapper, text: SQLWrapper) => text;
const asJson = (json: SQLWrapper) => json;
const asTime = (_json: SQLWrapper, text: SQLWrapper) => instantOf(text);
const as = (type: string) => (_json: SQLWrapper, text: SQLWrapper) => sql`(${text})::${sql.raw(type)}`;

const name: Field['encode'] = (value, { path }) => quoted(validateName(value, path));
const count: Field = { encode: (value, { path }) => String(integerIn(value, path, 0, INT_MAX)), read: as('int') };

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

const options: Field['encode'] = (value, encoding) =>
  encodePayload(value === null ? {} : storableOptions(value as JobOptions), encoding);

const optionalTime: Field = { encode: orNull(time), read: asTime };
const optionalName: Field = { encode: orNull(name), read: asText };
const list: Field = { encode: record, read: asJson };

type Plain = Exclude<keyof JobData, 'id' | 'queueName'>;

const FIELDS: { readonly [K in Plain]: Field } = {
  name: { encode: name, read: asText },
  data: { encode: encodePayload, read: asJson },
  state: {
    encode(value) {
      assertJobState(value);
      return quoted(value);
    },
    read: asText,
  },
  attemptsMade: count,
  progress: { encode: progress, read: as('float8') },
  returnvalue: {
    // Over the size limit it is null: the job did succeed.
    encode: (value, { maxBytes }) => encodeLenient(value, maxBytes).text,
    read: (json) => sql`nullif(${json}, 'null'::jsonb)`,
  },
  failedReason: { encode: orNull(reason), read: asText },
  opts: { encode: options, read: asJson },
  deduplicationKey: optionalName,
  logs: list,
  stacktrace: list,
  createdAt: { encode: time, read: asTime },
  processedAt: optionalTime,
  completedAt: optionalTime,
  failedAt: optionalTime,
  delayUntil: optionalTime,
  lockUntil: optionalTime,
  cancelledAt: optionalTime,
  lockedBy: optionalName,
  parentId: optionalName,
  parentQueueName: optionalName,
  pendingChildrenCount: count,
  groupId: optionalName,
  discarded: { encode: flag, read: as('boolean') },
  childrenIds: { encode: encodePayload, read: asJson },
  attemptLogs: list,
};

const NAMES = Object.keys(FIELDS) as Plain[];

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
  for (const field of NAMES) {
    const value = updates[field];
    if (value === undefined) continue;
    const text = FIELDS[field].encode(value, { path: `updates.${field}`, maxBytes });
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
export function merged(db: Tables, field: Plain): SQL {
  const slot = sql`u.f -> '${sql.raw(field)}'`;
  const text = sql`u.f ->> '${sql.raw(field)}'`;
  return sql`(case when ${slot} is null then ${alias(db.jobs, 'j')[field]} else ${FIELDS[field].read(sql`(${slot})`, sql`(${text})`)} end)`;
}

/** The assignments of every field that means nothing more than itself. */
export function plainAssignments(db: Tables): SQL {
  const special: Plain[] = ['deduplicationKey'];
  const plain = NAMES.filter((field) => !special.includes(field));
  return sql.join(
    plain.map((field) => sql`${bare(db.jobs)[field]} = ${merged(db, field)}`),
    sql`, `,
  );
}

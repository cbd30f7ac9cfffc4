import type { NewJobData } from '../../model/job.js';
import { encodePayload } from '../../model/payload/values.js';
import { fieldsWhere, JOB_FIELDS, type JobFieldName, wireName } from './job-fields.js';

/** A job ready to be inserted: its id is set and its values are JSON text already. */
export interface JobRecord {
  readonly queueName: string;
  readonly id: string;
  readonly deduplicationKey: string | null;
  /** No row can conflict with it, and it has none of the fields that only a store's caller sets. */
  readonly fresh: boolean;
  /** One JSON object, as the insert statements read it: keys are the names of columns. */
  readonly json: string;
  readonly bytes: number;
}

export interface RecordOptions {
  maxPayloadBytes: number;
  /** ms from the database's clock; overrides `delayUntil`. */
  delayMs?: number | undefined;
  scheduleKey?: string | undefined;
  /** It is created by the database's clock. Default: at the job's own `createdAt`. */
  createdNow?: boolean | undefined;
  /** The id was made just now: no other job can have it. */
  ownId?: boolean | undefined;
}

interface Source extends RecordOptions {
  readonly queueName: string;
  readonly id: string;
}

interface Encoder {
  readonly key: string;
  value(job: NewJobData, source: Source): unknown;
  /** JSON text; undefined where the value is what the column has anyway. */
  encode(value: unknown, maxBytes: number): string | undefined;
}

/** Fields that are not read from the job as they are. */
const SOURCES: { readonly [K in JobFieldName]?: Encoder['value'] } = {
  queueName: (_job, { queueName }) => queueName,
  id: (_job, { id }) => id,
  priority: ({ opts }) => opts.priority,
  scheduleKey: (_job, { scheduleKey }) => scheduleKey,
  createdAt: ({ createdAt }, { createdNow }) => (createdNow === true ? null : createdAt),
  delayUntil: ({ delayUntil }, { delayMs }) => (delayMs === undefined ? delayUntil : null),
};

function encoderOf(name: JobFieldName): Encoder {
  const { type, absent } = JOB_FIELDS[name];
  const key = `"${wireName(name)}":`;
  const value = SOURCES[name] ?? ((job) => job[name as keyof NewJobData]);
  switch (type) {
    case 'text':
    case 'jsonb': {
      const skip = absent === 'null' ? isNull : isEmpty;
      const encode: Encoder['encode'] = (value, maxBytes) =>
        skip(value) ? undefined : encodePayload(value, { path: name, maxBytes });
      return { key, value, encode };
    }
    case 'time':
      return { key, value, encode: (time) => (isNull(time) ? undefined : String((time as Date).getTime())) };
    default:
      return { key, value, encode: (plain) => (plain ? String(plain) : undefined) };
  }
}

const isNull = (value: unknown) => value === null || value === undefined;

/** Null, or a list or an object with nothing in it. */
function isEmpty(value: unknown): boolean {
  if (isNull(value)) return true;
  for (const _ in value as object) return false;
  return true;
}

const NEW = fieldsWhere(({ insert }, name) => insert === 'new' && name !== 'data').map(encoderOf);
const STORED = fieldsWhere(({ insert }) => insert === 'stored').map(encoderOf);

/** A record's payload as it will be read. */
export const dataIn = ({ json }: JobRecord): unknown => (JSON.parse(json) as { data: unknown }).data;

/** @throws InvalidPayloadError for a value that jsonb cannot hold, before any SQL */
export function encodeRecord(queueName: string, id: string, job: NewJobData, options: RecordOptions): JobRecord {
  const { maxPayloadBytes, delayMs } = options;
  const source: Source = { ...options, queueName, id };
  // Unlike other columns, the payload has no default: null and empty values are written out.
  let json = `{"${wireName('data')}":${encodePayload(job.data, { path: 'data', maxBytes: maxPayloadBytes })}`;
  for (const { key, value, encode } of NEW) {
    const text = encode(value(job, source), maxPayloadBytes);
    if (text !== undefined) json += `,${key}${text}`;
  }
  if (job.opts.lifo === true) json += ',"lifo":true';
  if (delayMs !== undefined) json += `,"delay_ms":${delayMs}`;
  let fresh = options.ownId === true && (job.deduplicationKey ?? null) === null;
  for (const { key, value, encode } of STORED) {
    const text = encode(value(job, source), maxPayloadBytes);
    if (text === undefined) continue;
    json += `,${key}${text}`;
    fresh = false;
  }
  json += '}';
  return { queueName, id, deduplicationKey: job.deduplicationKey ?? null, fresh, json, bytes: json.length };
}

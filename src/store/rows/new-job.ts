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
  /** The JSON text of the payload. */
  readonly data: string;
  /** All the rest of a job that is plain; undefined for any other. */
  readonly plain: PlainFields | undefined;
  /** One JSON object, as the insert statements read it: keys are the names of columns. */
  readonly json: string;
  readonly bytes: number;
}

/** What a fresh job has that waits, and is like any other but for these. None of them contains a line break. */
export interface PlainFields {
  readonly name: string;
  /** JSON text. */
  readonly opts: string;
  readonly priority: number;
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

const keyOf = (name: JobFieldName) => `"${wireName(name)}":`;

function encoderOf(name: JobFieldName): Encoder {
  const { type, absent } = JOB_FIELDS[name];
  const key = keyOf(name);
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
export const dataIn = ({ data }: JobRecord): unknown => JSON.parse(data);

const [DATA, ID, NAME, QUEUE_NAME, OPTS, STATE, PRIORITY] = (
  ['data', 'id', 'name', 'queueName', 'opts', 'state', 'priority'] as const
).map(keyOf);

/** The record of a plain job. Its JSON is made only if a statement needs it. */
class PlainRecord implements JobRecord {
  readonly queueName: string;
  readonly id: string;
  readonly data: string;
  readonly plain: PlainFields;

  constructor(queueName: string, id: string, data: string, plain: PlainFields) {
    this.queueName = queueName;
    this.id = id;
    this.data = data;
    this.plain = plain;
  }

  get deduplicationKey(): null {
    return null;
  }

  get fresh(): true {
    return true;
  }

  get bytes(): number {
    return this.data.length + this.plain.opts.length;
  }

  get json(): string {
    const { name, opts, priority } = this.plain;
    const texts = `${ID}${JSON.stringify(this.id)},${NAME}${JSON.stringify(name)},${QUEUE_NAME}${JSON.stringify(this.queueName)}`;
    return `{${DATA}${this.data},${texts},${OPTS}${opts},${STATE}"waiting",${PRIORITY}${priority}}`;
  }
}

/**
 * @param id made just now: no other job can have it
 * @param data JSON text
 */
export function plainRecord(queueName: string, id: string, data: string, plain: PlainFields): JobRecord {
  return new PlainRecord(queueName, id, data, plain);
}

/** @throws InvalidPayloadError for a value that jsonb cannot hold, before any SQL */
export function encodeRecord(queueName: string, id: string, job: NewJobData, options: RecordOptions): JobRecord {
  const { maxPayloadBytes, delayMs } = options;
  const source: Source = { ...options, queueName, id };
  // Unlike other columns, the payload has no default: null and empty values are written out.
  const data = encodePayload(job.data, { path: 'data', maxBytes: maxPayloadBytes });
  let json = `{${DATA}${data}`;
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
  const deduplicationKey = job.deduplicationKey ?? null;
  return { queueName, id, deduplicationKey, fresh, data, plain: undefined, json, bytes: json.length };
}

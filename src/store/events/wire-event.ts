import { EVENT_TYPES, type EventDetails, type StoreEvent, type StoreEventType } from '../../model/event.js';
import { DEFAULT_MAX_PAYLOAD_BYTES, encodeLenient } from '../../model/payload/values.js';

/**
 * An event on the wire: `[type, jobId, timestamp, details]`, the type by its number, about 60 bytes for one of a job.
 *
 * The details are what 0.1.0 had as the event's `data`. Processes of both versions may run at once, so they still travel
 * in that form, and here they become `data` and the fields beside it:
 *
 * | type | details |
 * |---|---|
 * | `job:progress` | `{progress}` |
 * | `job:completed` | `{returnvalue}`, or `{partial: true}` |
 * | `job:failed` | `{failedReason, cancelled?}` |
 * | `job:waiting`, `job:delayed` of a retry | `{failedReason, attemptsMade}` |
 * | `job:active` of a retry | `{attemptsMade}` |
 * | any other | `data` |
 *
 * Data is wrapped even if it looks like one of these forms, so that it cannot be confused with them. (What an app on
 * 0.1.0 publishes itself is not wrapped, and is delivered as it is unless it has exactly such a form.)
 */
export type WireEvent = [number, string | null, number, unknown?];

/** Of the data of one event. */
const MAX_EVENT_BYTES = DEFAULT_MAX_PAYLOAD_BYTES;
const PARTIAL = '{"partial":true}';

/** The details of an event of any type. */
interface AnyDetails {
  readonly data?: unknown;
  readonly partial?: boolean;
  readonly cancelled?: boolean;
  readonly attemptsMade?: number;
  readonly failedReason?: string;
}

/** Data that JSON cannot hold is replaced rather than refused: it must not fail the other events of a send. */
export function encodeEvent<Type extends StoreEventType>(
  type: Type,
  jobId: string | undefined,
  timestamp: number,
  details?: EventDetails<Type>,
): string {
  return encode(type, jobId, timestamp, details && encodeDetails(type, details as AnyDetails));
}

/** The same of `job:completed`, whose result is JSON text already; undefined: it is too large for an event. */
export function encodeCompleted(jobId: string, timestamp: number, result: string | undefined): string {
  return encode('job:completed', jobId, timestamp, result === undefined ? PARTIAL : `{"returnvalue":${result}}`);
}

/** The same of an event that an app made: an invalid time becomes 0, so that the payload stays readable. */
export function encodeStoreEvent(event: StoreEvent): string {
  const { type, jobId, timestamp } = event;
  return encode(type, jobId ?? undefined, timestamp.getTime() || 0, encodeDetails(type, event as AnyDetails));
}

function encode(
  type: StoreEventType,
  jobId: string | undefined,
  timestamp: number,
  details: string | undefined,
): string {
  const id = jobId === undefined ? 'null' : JSON.stringify(jobId);
  return `[${EVENT_TYPES.indexOf(type)},${id},${timestamp}${details === undefined ? '' : `,${details}`}]`;
}

/** JSON text; undefined for an event without details. */
function encodeDetails(type: StoreEventType, details: AnyDetails): string | undefined {
  const { data, partial, cancelled, attemptsMade, failedReason } = details;
  if (type === 'job:completed' && partial) return PARTIAL;
  if ((type === 'job:waiting' || type === 'job:delayed') && attemptsMade !== undefined) {
    return encodeLenient({ failedReason: failedReason ?? '', attemptsMade }, MAX_EVENT_BYTES).text;
  }
  if (type === 'job:active' && attemptsMade !== undefined) return `{"attemptsMade":${attemptsMade}}`;
  if (data === undefined) return undefined;
  const { text, tooLarge } = encodeLenient(data, MAX_EVENT_BYTES);
  switch (type) {
    case 'job:progress':
      return `{"progress":${text}}`;
    case 'job:completed':
      return tooLarge ? PARTIAL : `{"returnvalue":${text}}`;
    case 'job:failed':
      return `{"failedReason":${text}${cancelled ? ',"cancelled":true' : ''}}`;
    default:
      return text;
  }
}

/** Undefined for what is not an event, or is of a type that only a newer version knows. */
export function decodeEvent(queueName: string, event: unknown): StoreEvent | undefined {
  if (!Array.isArray(event)) return undefined;
  const [number, jobId, timestamp, details] = event as WireEvent;
  const type = EVENT_TYPES[number];
  if (type === undefined) return undefined;
  return {
    type,
    queueName,
    ...(jobId !== null && { jobId }),
    timestamp: new Date(timestamp),
    ...(details !== undefined && decodeDetails(type, details)),
  } as StoreEvent;
}

function decodeDetails(type: StoreEventType, details: unknown): AnyDetails {
  switch (type) {
    case 'job:progress':
      return consistsOf(details, 'progress') ? { data: details.progress } : { data: details };
    case 'job:completed':
      if (consistsOf(details, 'partial') && details.partial === true) return { partial: true };
      return consistsOf(details, 'returnvalue') ? { data: details.returnvalue } : { data: details };
    case 'job:failed':
      if (consistsOf(details, 'failedReason', 'cancelled')) return { data: details.failedReason, cancelled: true };
      return consistsOf(details, 'failedReason') ? { data: details.failedReason } : { data: details };
    case 'job:waiting':
    case 'job:delayed':
      if (!consistsOf(details, 'failedReason', 'attemptsMade')) return { data: details };
      return { attemptsMade: Number(details.attemptsMade), failedReason: String(details.failedReason) };
    case 'job:active':
      return consistsOf(details, 'attemptsMade') ? { attemptsMade: Number(details.attemptsMade) } : { data: details };
    default:
      return { data: details };
  }
}

/** Whether a value is an object with these keys and no others. */
function consistsOf<K extends string>(value: unknown, ...keys: K[]): value is Record<K, unknown> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  return Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key));
}

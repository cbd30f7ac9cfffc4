import { createHash } from 'node:crypto';
import { EVENT_TYPES, type StoreEvent, type StoreEventType } from '../../model/event.js';
import { DEFAULT_MAX_PAYLOAD_BYTES, encodeLenient } from '../../model/payload/values.js';

/** NOTIFY takes fewer than 8,000 bytes; the rest is for the envelope. */
const MAX_PAYLOAD_BYTES = 7_900;
const PART_BYTES = 7_600;
const MAX_EVENT_BYTES = DEFAULT_MAX_PAYLOAD_BYTES;
/** A channel is an identifier: 63 bytes. */
const MAX_CHANNEL_BYTES = 63;

/** `conveyor:<queue>`, or a hash of it where the name is too long or the tables are in a schema of their own. */
export function channelOf(queueName: string, schema: string | undefined): string {
  const plain = `conveyor:${queueName}`;
  if ((schema === undefined || schema === 'public') && Buffer.byteLength(plain) <= MAX_CHANNEL_BYTES) return plain;
  const hash = createHash('sha256').update(JSON.stringify([schema ?? 'public', queueName]));
  return `conveyor:#${hash.digest('hex').slice(0, 40)}`;
}

/** What one process tells the others about a queue. */
export interface Message {
  queueName: string;
  events: StoreEvent[];
  /** Jobs can run now: look. */
  wake: boolean;
  /** A delayed job comes due in so many ms: a span, for clocks differ. */
  dueIn: number | null;
}

/** What one process has to tell the others, its events as they travel. */
export interface OutgoingMessage {
  readonly queueName: string;
  readonly events: string[];
  wake: boolean;
  dueIn: number | null;
}

/** `[type, jobId, timestamp, data]`, the type by its number: an event of a job is about 60 bytes. */
type WireEvent = [number, string | null, number, unknown?];

interface Envelope {
  /** The sender: nobody hears himself. */
  s: string;
  q: string;
  e?: WireEvent[];
  b?: 1;
  d?: number;
}

/** A part of an envelope that does not fit one notification: sender, number, index, count, text. */
type Part = [string, number, number, number, string];

let partNumber = 0;

/** An event as it travels. */
export function encodeEvent(type: StoreEventType, jobId: string | undefined, timestamp: number, data: unknown): string {
  // An event's data is whatever its publisher said: it must not take the others of the flush with it.
  const text = data === undefined ? undefined : encodeLenient(data, MAX_EVENT_BYTES).text;
  return encodeEventJson(type, jobId, timestamp, text);
}

/** The same with its data as JSON text. */
export function encodeEventJson(
  type: StoreEventType,
  jobId: string | undefined,
  timestamp: number,
  data: string | undefined,
): string {
  const id = jobId === undefined ? 'null' : JSON.stringify(jobId);
  return `[${EVENT_TYPES.indexOf(type)},${id},${timestamp}${data === undefined ? '' : `,${data}`}]`;
}

/** The same of an app's own event: one with an invalid time must not make the whole payload unreadable. */
export const encodedEvent = ({ type, jobId, timestamp, data }: StoreEvent): string =>
  encodeEvent(type, jobId ?? undefined, timestamp.getTime() || 0, data);

/** The payloads that carry a message, each small enough for one NOTIFY. */
export function encodeMessage(source: string, message: OutgoingMessage): string[] {
  const head: Envelope = { s: source, q: message.queueName };
  if (message.wake) head.b = 1;
  if (message.dueIn !== null) head.d = Math.round(message.dueIn);
  const payloads: string[] = [];
  let batch: string[] = [];
  const start = JSON.stringify(head).slice(0, -1);
  let size = Buffer.byteLength(start) + 8;
  const base = size;
  const close = () => {
    payloads.push(batch.length > 0 ? `${start},"e":[${batch.join(',')}]}` : `${start}}`);
    batch = [];
    size = base;
  };
  for (const text of message.events) {
    const bytes = Buffer.byteLength(text) + 1;
    if (batch.length > 0 && size + bytes > MAX_PAYLOAD_BYTES) close();
    batch.push(text);
    size += bytes;
  }
  if (batch.length > 0 || payloads.length === 0) close();
  return payloads.flatMap((payload) =>
    Buffer.byteLength(payload) <= MAX_PAYLOAD_BYTES ? [payload] : split(source, payload),
  );
}

/** Base64, because a cut between the bytes of one character must not matter. */
function split(source: string, payload: string): string[] {
  const text = Buffer.from(payload).toString('base64');
  const number = ++partNumber;
  const count = Math.ceil(text.length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => {
    const part: Part = [source, number, i, count, text.slice(i * PART_BYTES, (i + 1) * PART_BYTES)];
    return JSON.stringify(part);
  });
}

/** Puts payloads back together. One per store; notifications of one sender arrive in order. */
export class Decoder {
  readonly #source: string;
  /** How one's own begin: a busy process hears itself much, and need not read it. */
  readonly #own: string;
  readonly #parts = new Map<string, string[]>();

  constructor(source: string) {
    this.#source = source;
    this.#own = `{"s":${JSON.stringify(source)},`;
  }

  /** `undefined` for one's own, for a part of an unfinished message, and for what is not ours. */
  decode(payload: string): Message | undefined {
    if (payload.startsWith(this.#own)) return undefined;
    let parsed: Envelope | Part;
    try {
      parsed = JSON.parse(payload);
    } catch {
      return undefined;
    }
    if (parsed === null || typeof parsed !== 'object') return undefined;
    if (Array.isArray(parsed)) {
      const whole = this.#join(parsed);
      return whole === undefined ? undefined : this.decode(whole);
    }
    if (parsed.s === this.#source || typeof parsed.q !== 'string') return undefined;
    const { q: queueName } = parsed;
    const events = (parsed.e ?? []).map(([type, jobId, timestamp, data]) => {
      const event: StoreEvent = { type: EVENT_TYPES[type] ?? 'queue:error', queueName, timestamp: new Date(timestamp) };
      if (jobId !== null) event.jobId = jobId;
      if (data !== undefined) event.data = data;
      return event;
    });
    return { queueName, events, wake: parsed.b === 1, dueIn: parsed.d ?? null };
  }

  #join([source, number, index, count, text]: Part): string | undefined {
    if (source === this.#source) return undefined;
    const key = `${source}:${number}`;
    const parts = this.#parts.get(key) ?? [];
    parts[index] = text;
    if (parts.filter((part) => part !== undefined).length < count) {
      this.#parts.set(key, parts);
      // A sender that died half-way never finishes: keep only the newest few.
      if (this.#parts.size > 16) this.#parts.delete(this.#parts.keys().next().value as string);
      return undefined;
    }
    this.#parts.delete(key);
    return Buffer.from(parts.join(''), 'base64').toString();
  }
}

import { createHash } from 'node:crypto';
import type { StoreEvent } from '../../model/event.js';
import { decodeEvent, type WireEvent } from './wire-event.js';

/** NOTIFY takes fewer than 8,000 bytes. */
export const MAX_PAYLOAD_BYTES = 7_900;
/** Of the text of one part; the rest is for its array. */
const PART_BYTES = 7_600;
/** A channel is an identifier of at most 63 bytes. */
const MAX_CHANNEL_BYTES = 63;
/** A sender that died in the middle of a message never completes it: only the newest few are kept. */
const MAX_INCOMPLETE_MESSAGES = 16;

/** `conveyor:<queue>`; a hash where that is too long, or where the tables are in a Postgres schema of their own. */
export function channelOf(queueName: string, schema: string | undefined): string {
  const plain = `conveyor:${queueName}`;
  if ((schema === undefined || schema === 'public') && Buffer.byteLength(plain) <= MAX_CHANNEL_BYTES) return plain;
  const hash = createHash('sha256').update(JSON.stringify([schema ?? 'public', queueName]));
  return `conveyor:#${hash.digest('hex').slice(0, 40)}`;
}

/** What a process receives about a queue. */
export interface Message {
  queueName: string;
  events: StoreEvent[];
  /** Jobs can run now. */
  wake: boolean;
  /** A delayed job comes due in so many ms. A duration, because the clocks of two processes differ. */
  dueIn: number | null;
}

/** What a process sends about a queue; its events are encoded. */
export interface OutgoingMessage {
  readonly queueName: string;
  readonly events: string[];
  wake: boolean;
  dueIn: number | null;
}

interface Envelope {
  /** Source. */
  s: string;
  /** Queue. */
  q: string;
  e?: WireEvent[];
  /** Wake. */
  b?: 1;
  /** Due in ms. */
  d?: number;
}

/** A part of an envelope that is too large for one notification: source, number of the message, index, count, text. */
type Part = [string, number, number, number, string];

let messageNumber = 0;

/** The payloads of a message, each small enough for one NOTIFY, in the order in which they must be sent. */
export function encodeMessage(source: string, message: OutgoingMessage): string[] {
  const head: Envelope = { s: source, q: message.queueName };
  if (message.wake) head.b = 1;
  if (message.dueIn !== null) head.d = Math.round(message.dueIn);
  const start = JSON.stringify(head).slice(0, -1);
  const startBytes = Buffer.byteLength(start) + ',"e":[]}'.length;
  const payloads: string[] = [];
  let events: string[] = [];
  let size = startBytes;
  const close = () => {
    payloads.push(events.length > 0 ? `${start},"e":[${events.join(',')}]}` : `${start}}`);
    events = [];
    size = startBytes;
  };
  for (const text of message.events) {
    const bytes = Buffer.byteLength(text) + 1;
    if (events.length > 0 && size + bytes > MAX_PAYLOAD_BYTES) close();
    events.push(text);
    size += bytes;
  }
  if (events.length > 0 || payloads.length === 0) close();
  return payloads.flatMap((payload) =>
    Buffer.byteLength(payload) <= MAX_PAYLOAD_BYTES ? [payload] : split(source, payload),
  );
}

/** In base64, so that no cut falls between the bytes of one character. */
function split(source: string, payload: string): string[] {
  const text = Buffer.from(payload).toString('base64');
  const number = ++messageNumber;
  const count = Math.ceil(text.length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => {
    const part: Part = [source, number, i, count, text.slice(i * PART_BYTES, (i + 1) * PART_BYTES)];
    return JSON.stringify(part);
  });
}

/** Decodes payloads, joining parts. One per store: the notifications of one source arrive in order. */
export class Decoder {
  readonly #source: string;
  /** How this store's own payloads begin: recognised before they are parsed, as a busy process receives many. */
  readonly #ownPrefix: string;
  readonly #incomplete = new Map<string, string[]>();

  constructor(source: string) {
    this.#source = source;
    this.#ownPrefix = `{"s":${JSON.stringify(source)},`;
  }

  /** Undefined for a payload of this store, for a part of an incomplete message, and for anything it cannot read. */
  decode(payload: string): Message | undefined {
    if (payload.startsWith(this.#ownPrefix)) return undefined;
    let parsed: Partial<Envelope> | Part | null;
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
    const { s: source, q: queueName, e: events, b: wake, d: dueIn } = parsed;
    if (source === this.#source || typeof queueName !== 'string') return undefined;
    return {
      queueName,
      events: Array.isArray(events) ? events.flatMap((event) => decodeEvent(queueName, event) ?? []) : [],
      wake: wake === 1,
      dueIn: typeof dueIn === 'number' ? dueIn : null,
    };
  }

  #join([source, number, index, count, text]: Part): string | undefined {
    if (source === this.#source) return undefined;
    const key = `${source}:${number}`;
    const parts = this.#incomplete.get(key) ?? [];
    parts[index] = text;
    if (parts.filter((part) => part !== undefined).length < count) {
      this.#incomplete.set(key, parts);
      if (this.#incomplete.size > MAX_INCOMPLETE_MESSAGES) {
        this.#incomplete.delete(this.#incomplete.keys().next().value as string);
      }
      return undefined;
    }
    this.#incomplete.delete(key);
    return Buffer.from(parts.join(''), 'base64').toString();
  }
}

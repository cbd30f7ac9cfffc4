import { createHash } from 'node:crypto';
import { encodePayload } from './values.js';

/** No JSON text is longer than the longest string; whether the store takes the payload is not decided here. */
const MAX_TEXT_BYTES = 2 ** 29;

/**
 * SHA-256 in hex over the value's JSON with its keys in order: the order of keys does not matter, that of array items
 * does. The value counts as it would be stored: a Date is its ISO string, undefined properties are not there.
 *
 * @throws InvalidPayloadError for what cannot be stored
 */
export function hashPayload(value: unknown): string {
  return sha256(canonicalJson(value));
}

/** Like `hashPayload`, over a job's name and data. No two names share a hash, whatever their data is. */
export function hashJob(name: string, data: unknown): string {
  // As a JSON array, so that the end of the name is never in doubt.
  return sha256(`[${JSON.stringify(name)},${canonicalJson(data)}]`);
}

function canonicalJson(value: unknown): string {
  const text = encodePayload(value, { path: 'data', maxBytes: MAX_TEXT_BYTES });
  return sorted(JSON.parse(text));
}

/** JSON text of a parsed JSON value, keys in the order of their UTF-16 units. */
function sorted(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(sorted).join(',')}]`;
  const fields = value as Record<string, unknown>;
  const members = Object.keys(fields)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${sorted(fields[key])}`);
  return `{${members.join(',')}}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

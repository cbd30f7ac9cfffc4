import { InvalidPayloadError } from '../errors.js';
import { exceedsBytes } from '../text.js';
import { lenientCopy, TooLarge } from './lenient.js';
import { checkPayload, tooLarge } from './payload-walk.js';

export { cleanText } from '../text.js';

/** Largest payload and result, in bytes of UTF-8 JSON, unless `maxPayloadBytes` says otherwise. */
export const DEFAULT_MAX_PAYLOAD_BYTES = 10 * 1024 * 1024;

/** The escape of U+0000 or a lone surrogate in JSON text: an odd number of backslashes, then the code. */
const UNSTORABLE_ESCAPE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/;

/**
 * The JSON text of a payload, exact: what comes back from the database is deep-equal to what JSON says of the value.
 * As in JSON, a Date becomes its ISO string, toJSON is honoured, undefined properties are dropped and -0 is 0;
 * undefined itself becomes null.
 *
 * @param options.path what the error calls the value, such as `data`
 * @param options.maxBytes limit of the JSON text in UTF-8
 * @throws InvalidPayloadError with the path of what JSON or jsonb cannot hold: U+0000 and lone surrogates, bigint,
 * functions, symbols, NaN and Infinity, cycles, undefined in arrays, Map, Set and the like, invalid dates, more than
 * 500 levels, more than `maxBytes`
 */
export function encodePayload(value: unknown, { path, maxBytes }: { path: string; maxBytes: number }): string {
  checkPayload(value, path, maxBytes, false);
  let text: string;
  try {
    text = JSON.stringify(value) ?? 'null';
  } catch {
    // The walk has been through all of it: either code in the value answers differently each time, or the text
    // outgrew the longest string there is.
    throw new InvalidPayloadError(path, 'cannot be converted to JSON');
  }
  if (exceedsBytes(text, maxBytes)) throw tooLarge(path, maxBytes, Buffer.byteLength(text));
  if (text.includes('\\u') && UNSTORABLE_ESCAPE.test(text)) {
    checkPayload(value, path, maxBytes, true);
    throw new InvalidPayloadError(path, 'contains U+0000 or a lone surrogate, which jsonb cannot hold');
  }
  return text;
}

export type Encoded =
  | { readonly text: string; readonly tooLarge: false }
  | { readonly text: 'null'; readonly tooLarge: true; readonly bytes: number };

const tooBig = (bytes: number): Encoded => ({ text: 'null', tooLarge: true, bytes });

/**
 * The JSON text of a result, a log line or an event: the job has run, so nothing may fail. Never throws:
 * U+0000 and lone surrogates become U+FFFD, bigint a string, NaN and Infinity null, an Error its name and message, a
 * Map or Set an array; functions, symbols and undefined are dropped (null in arrays and at the top). What cannot be
 * read or would not end becomes `[Unserializable]`, `[Circular]` or `[Too deep]`.
 *
 * @param maxBytes limit of the JSON text in UTF-8; over it the text is `null`, `tooLarge` is true, and `bytes` is what
 * the JSON would take at least
 */
export function encodeLenient(value: unknown, maxBytes: number): Encoded {
  try {
    return { text: encodePayload(value, { path: 'result', maxBytes }), tooLarge: false };
  } catch {
    // Not exact: make the best of it.
  }
  try {
    const text = JSON.stringify(lenientCopy(value, maxBytes)) ?? 'null';
    return exceedsBytes(text, maxBytes) ? tooBig(Buffer.byteLength(text)) : { text, tooLarge: false };
  } catch (error) {
    if (error instanceof TooLarge) return tooBig(maxBytes + error.excess);
    return { text: '"[Unserializable]"', tooLarge: false };
  }
}

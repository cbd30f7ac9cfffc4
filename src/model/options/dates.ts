import { show } from '../text.js';

const FIRST = Date.UTC(1970, 0, 1);
/** Later years have six digits in ISO 8601, which Postgres cannot read. */
const LAST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

const FORMS = 'a Date, epoch milliseconds or an ISO 8601 text, from 1970 to 9999';

/**
 * Epoch milliseconds of a date option. A text without an offset and with a time of day is local time, as in JavaScript.
 *
 * @throws TypeError when it is no kind of date, RangeError when it is not a valid one from 1970 to 9999
 */
export function timeOf(value: unknown, name: string): number {
  if (value instanceof Date) return inRange(value.getTime(), 'an invalid Date', name);
  if (typeof value === 'number') return inRange(value, show(value), name);
  if (typeof value !== 'string') throw new TypeError(`${name} is ${show(value)}; it must be ${FORMS}.`);
  // Date.parse accepts nearly any text with a number in it.
  return inRange(/^\d{4}-\d{2}/.test(value) ? Date.parse(value) : Number.NaN, show(value), name);
}

function inRange(ms: number, shown: string, name: string): number {
  if (ms >= FIRST && ms <= LAST) return Math.round(ms);
  const problem = Number.isNaN(ms) || shown.startsWith('an ') ? shown : `${shown}, which is out of range`;
  throw new RangeError(`${name} is ${problem}; it must be ${FORMS}.`);
}

import { Cron } from 'croner';
import { nearest } from '../options/did-you-mean.js';
import { show } from '../text.js';

const DEFAULT_TZ = 'UTC';

/** Parsed expressions: a worker uses the same few after each tick. */
const cache = new Map<string, Cron>();
const CACHE_SIZE = 500;

/**
 * An IANA time zone that this Node.js knows, such as `Europe/Berlin` or `UTC`; returned as it was given.
 *
 * @param name what the errors call it
 * @throws TypeError when it is not a string, RangeError when it is not such a zone
 */
export function validateTimezone(tz: string, name = 'time zone'): string {
  const allowed = "an IANA time zone such as 'Europe/Berlin' or 'UTC'";
  if (typeof tz !== 'string') throw new TypeError(`${name} is ${show(tz)}; it must be ${allowed}.`);
  // Newer Node.js versions also take offsets ('+02:00'), older ones fail on them; they have no daylight saving anyway.
  if (/^[a-z]/i.test(tz) && isKnownZone(tz)) return tz;
  const guess = nearest(tz, Intl.supportedValuesOf('timeZone'));
  throw new RangeError(
    `Invalid timezone: ${name} is ${show(tz)}; it must be ${allowed}.${guess === undefined ? '' : ` Did you mean '${guess}'?`}`,
  );
}

/**
 * A cron expression of 5 fields (minute, hour, day of month, month, day of week), 6 (seconds first) or 7 (year last),
 * or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`; returned as it was given.
 *
 * @param tz IANA time zone; default `UTC`
 * @param name what the errors call it
 * @throws TypeError when it is not a string; RangeError when it is not such an expression, when no date ever matches
 * it (February 30), or for a bad time zone
 */
export function validateCron(expr: string, tz?: string, name = 'cron'): string {
  const allowed = "a cron expression of 5, 6 or 7 fields, such as '0 9 * * 1-5'";
  if (typeof expr !== 'string') throw new TypeError(`${name} is ${show(expr)}; it must be ${allowed}.`);
  const zone = tz === undefined ? DEFAULT_TZ : validateTimezone(tz);
  let first: number | null;
  try {
    // croner also takes a date, which it fires once.
    if (!/^\s*@/.test(expr) && ![5, 6, 7].includes(expr.trim().split(/\s+/).length)) throw new Error('wrong fields');
    first = nextCronTick(expr, zone, 0);
  } catch (error) {
    const reason = (error as Error).message.replace(/^\w+: /, '').replace(/\.$/, '');
    throw new RangeError(`${name} is ${show(expr)}; it must be ${allowed} (${reason}).`, { cause: error });
  }
  if (first === null) throw new RangeError(`${name} is ${show(expr)}; no date since 1970 matches it.`);
  return expr;
}

/**
 * Epoch ms of the first time strictly after `after` that the expression matches, or null when there is none.
 *
 * When clocks go forward, a time of day inside the gap runs right after it; when they go back, a time of day that
 * comes twice runs the first time only. Expressions with `*` or a step in hour, minute or second are intervals: they
 * skip the gap, and run in both passes of the hour.
 */
export function nextCronTick(expr: string, tz: string | null, after: number): number | null {
  const next = parsed(expr, tz ?? DEFAULT_TZ).nextRun(new Date(after));
  return next === null ? null : next.getTime();
}

function parsed(expr: string, tz: string): Cron {
  const key = `${tz}\n${expr}`;
  const known = cache.get(key);
  if (known) return known;
  // Not croner's default, which takes a list (`30 2,14 * * *`) for an interval and would lose or double its 02:30.
  const cron = new Cron(expr, { timezone: tz, fixedTimeRule: 'no-wildcard' });
  // The first key of a Map is the oldest.
  if (cache.size >= CACHE_SIZE) cache.delete(cache.keys().next().value!);
  cache.set(key, cron);
  return cron;
}

function isKnownZone(tz: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: tz });
    return true;
  } catch {
    return false;
  }
}

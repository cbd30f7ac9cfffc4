import type { Duration } from '../job.js';
import { show } from '../text.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  millisecond: 1,
  milliseconds: 1,
  s: SECOND,
  second: SECOND,
  seconds: SECOND,
  m: MINUTE,
  minute: MINUTE,
  minutes: MINUTE,
  h: HOUR,
  hour: HOUR,
  hours: HOUR,
  d: DAY,
  day: DAY,
  days: DAY,
  w: 7 * DAY,
  week: 7 * DAY,
  weeks: 7 * DAY,
};

/** 100 years in ms. Far enough for any job, and near enough that `now + delay` is a time Postgres can hold. */
export const MAX_DURATION_MS = 36_525 * DAY;

const FORMS =
  "a number of ms, or a number and a unit such as '500ms', '5s', '10 minutes', '2h', '1 day', '1w' " +
  '(ms, millisecond(s), s, second(s), m, minute(s), h, hour(s), d, day(s), w, week(s)), from 0 to 100 years';

/**
 * Milliseconds of a duration, rounded to a whole number.
 *
 * A number is ms. A string is a number and a unit, with or without a space, in any case, fractions allowed
 * (`'1.5h'`). From 0 to 100 years.
 *
 * @param name what the error calls the option
 * @param subject what it says must be a duration
 * @throws TypeError for neither a number nor a string; RangeError for anything else that is not a duration
 */
export function parseDelay(value: Duration, name = 'delay', subject = 'it'): number {
  if (typeof value !== 'number' && typeof value !== 'string') {
    throw new TypeError(`${name} is ${show(value)}; ${subject} must be ${FORMS}.`);
  }
  const ms = typeof value === 'number' ? value : textToMs(value);
  // Negated so that NaN is refused too.
  if (!(ms >= 0 && ms <= MAX_DURATION_MS)) {
    throw new RangeError(`${name} is ${show(value)}; ${subject} must be ${FORMS}.`);
  }
  return Math.round(ms) + 0; // + 0 turns -0 into 0
}

/** A duration without the `in ` before it, as in `'in 10 minutes'`; any other value as it is. */
export function withoutIn(value: Duration): Duration {
  if (typeof value !== 'string') return value;
  const rest = value.replace(/^\s*in\s+/i, '');
  return Number.isNaN(textToMs(rest)) ? value : rest;
}

function textToMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(text.trim());
  if (!match) return Number.NaN;
  const unit = match[2]!.toLowerCase();
  return Object.hasOwn(UNIT_MS, unit) ? Number(match[1]) * UNIT_MS[unit]! : Number.NaN;
}

/** The longest delay of a Node.js timer, in ms (24.8 days): one with a longer delay fires at once. */
export const MAX_TIMER_MS = 2_147_483_647;

/**
 * Whole milliseconds of a duration option that has bounds: a whole number of ms, or a text as `parseDelay` takes it.
 *
 * @param name what the error calls the option
 * @throws TypeError for neither a number nor a string; RangeError for what is no duration, or out of bounds
 */
export function durationIn(value: unknown, name: string, min: number, max: number): number {
  const allowed = `a whole number of ms, or a number and a unit such as '500ms', '5s', '10 minutes', from ${min} to ${max} ms`;
  if (typeof value !== 'number' && typeof value !== 'string') {
    throw new TypeError(`${name} is ${show(value)}; it must be ${allowed}.`);
  }
  const ms = typeof value === 'number' ? value : Math.round(textToMs(value));
  if (!(Number.isInteger(ms) && ms >= min && ms <= max)) {
    throw new RangeError(`${name} is ${show(value)}; it must be ${allowed}.`);
  }
  return ms + 0; // + 0 turns -0 into 0
}

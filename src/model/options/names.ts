import { JOB_STATES, type JobState } from '../job.js';
import { isStorable, show } from '../text.js';

/** Longest name, id, key or group id, in characters as Postgres counts them (code points). */
export const MAX_NAME_LENGTH = 255;

/**
 * A queue's name: 1 to 255 characters, no control characters, no lone surrogates.
 *
 * @throws TypeError when it is not a string, RangeError when it is not such a name
 */
export function validateQueueName(name: unknown): string {
  const what = 'Invalid queue name: queue name';
  const text = validateName(name, what);
  if (hasControlCharacter(text)) {
    throw new RangeError(`${what} is ${show(text)}; control characters are not allowed.`);
  }
  return text;
}

/**
 * A job name, id, key or group id: 1 to 255 characters without U+0000 and lone surrogates, which Postgres cannot hold.
 *
 * @param what what the error calls it, such as `opts.jobId`
 * @throws TypeError when it is not a string, RangeError when it is not such a name
 */
export function validateName(value: unknown, what: string): string {
  if (typeof value !== 'string') {
    throw new TypeError(`${what} is ${show(value)}; it must be a string of 1 to ${MAX_NAME_LENGTH} characters.`);
  }
  if (value === '' || isTooLong(value)) {
    throw new RangeError(
      `${what} is ${show(value)} (${value.length} characters); it must have 1 to ${MAX_NAME_LENGTH} characters.`,
    );
  }
  if (!isStorable(value)) {
    throw new RangeError(
      `${what} is ${show(value)}; U+0000 and lone surrogates are not allowed, Postgres cannot hold them.`,
    );
  }
  return value;
}

/**
 * A whole number from `min` to `max`.
 *
 * @throws TypeError when it is not a number, RangeError when it is not whole or out of range
 */
export function integerIn(value: unknown, name: string, min: number, max: number): number {
  const allowed = `a whole number from ${min} to ${max}`;
  if (typeof value !== 'number') throw new TypeError(`${name} is ${show(value)}; it must be ${allowed}.`);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} is ${show(value)}; it must be ${allowed}.`);
  }
  return value + 0; // + 0 turns -0 into 0
}

/**
 * A number from `min` to `max`.
 *
 * @throws TypeError when it is not a number, RangeError when it is out of range
 */
export function numberIn(value: unknown, name: string, min: number, max: number): number {
  const allowed = `a number from ${min} to ${max}`;
  if (typeof value !== 'number') throw new TypeError(`${name} is ${show(value)}; it must be ${allowed}.`);
  if (!(value >= min && value <= max)) throw new RangeError(`${name} is ${show(value)}; it must be ${allowed}.`);
  return value;
}

/**
 * One of a few words.
 *
 * @throws TypeError when it is not a string, RangeError when it is another word
 */
export function oneOf<T extends string>(value: unknown, name: string, allowed: readonly T[]): T {
  const words = allowed.map((word) => `'${word}'`).join(', ');
  if (typeof value !== 'string') throw new TypeError(`${name} is ${show(value)}; it must be one of ${words}.`);
  if (!(allowed as readonly string[]).includes(value)) {
    throw new RangeError(`${name} is ${show(value)}; it must be one of ${words}.`);
  }
  return value as T;
}

/** The state itself. @throws TypeError or RangeError when the value is not one of `JOB_STATES` */
export function assertJobState(value: unknown): JobState {
  return oneOf(value, 'Invalid job state: job state', JOB_STATES);
}

function isTooLong(text: string): boolean {
  // A character is one or two UTF-16 units; count them only where that decides.
  if (text.length <= MAX_NAME_LENGTH) return false;
  return text.length > 2 * MAX_NAME_LENGTH || [...text].length > MAX_NAME_LENGTH;
}

function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)) return true;
  }
  return false;
}

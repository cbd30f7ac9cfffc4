import type { BackoffOptions } from './job.js';
import { parseDelay } from './options/duration.js';
import { integerIn, numberIn } from './options/names.js';

const CAP_MS = 24 * 60 * 60 * 1000;

/** So that jobs that failed together are not retried together. */
const EXPONENTIAL_JITTER = 0.25;

/**
 * The delay before the next attempt, in whole ms.
 *
 * - `fixed`: `delay`.
 * - `exponential`: `delay`, then twice as long after each attempt, at most 24 h.
 * - `custom`: what `customStrategy` returns; 0 when it returns a promise, which only a worker can await.
 * - no backoff: 0.
 *
 * Each varies by the share `jitter` either way: by default a quarter for `exponential`, and not at all for the others.
 *
 * @param attemptsMade failed attempts so far, from 1
 * @param random from 0 to 1, for tests
 * @throws RangeError or TypeError for an `attemptsMade` below 1, a bad `delay` or `jitter`, and `custom` without a
 * function; whatever a custom strategy throws
 */
export function calculateBackoff(
  attemptsMade: number,
  backoff: BackoffOptions | undefined,
  random: () => number = Math.random,
): number {
  integerIn(attemptsMade, 'attemptsMade', 1, Number.MAX_SAFE_INTEGER);
  if (!backoff) return 0;
  if (backoff.type === 'custom') return withJitter(customDelay(attemptsMade, backoff), backoff, random);

  const delay = parseDelay(backoff.delay, 'backoff.delay', 'the backoff delay');
  if (backoff.type === 'fixed') return withJitter(delay, backoff, random);

  // The exponent is limited because 0 * Infinity is NaN; 2^31 ms is above the cap anyway.
  const nominal = Math.min(CAP_MS, delay * 2 ** Math.min(attemptsMade - 1, 31));
  return Math.min(CAP_MS, withJitter(nominal, backoff, random));
}

/** A delay with its jitter, in whole ms. @throws RangeError or TypeError for a bad `jitter` */
export function withJitter(delay: number, { type, jitter }: BackoffOptions, random = Math.random): number {
  const defaultShare = type === 'exponential' ? EXPONENTIAL_JITTER : 0;
  const share = jitter === undefined ? defaultShare : numberIn(jitter, 'backoff.jitter', 0, 1);
  return Math.round(delay * (1 - share + 2 * share * random()));
}

function durationOrNone(text: string): number {
  try {
    return parseDelay(text);
  } catch {
    return 0;
  }
}

function customDelay(attemptsMade: number, { customStrategy }: BackoffOptions): number {
  if (typeof customStrategy !== 'function') {
    throw new TypeError("backoff.customStrategy must be a function, with type 'custom'.");
  }
  const delay = customStrategy(attemptsMade);
  if (typeof delay === 'string') return durationOrNone(delay);
  if (typeof delay === 'number') return Number.isFinite(delay) && delay > 0 ? Math.round(delay) : 0;
  // The promise is not awaited, so its rejection must be handled here.
  Promise.resolve(delay).catch(() => {});
  return 0;
}

import type { BackoffOptions } from './job.js';
import { parseDelay } from './options/duration.js';
import { integerIn } from './options/names.js';

const CAP_MS = 24 * 60 * 60 * 1000;

/** Each delay is 75 % to 125 % of the nominal one, so that jobs that failed together are not retried together. */
const JITTER = 0.25;

/**
 * The delay before the next attempt, in whole ms.
 *
 * - `fixed`: `delay`, ±25 %.
 * - `exponential`: `delay`, then twice as long after each attempt, ±25 %, at most 24 h.
 * - `custom`: what `customStrategy` returns; 0 without one (a stored job has none), and when it returns a promise,
 *   which only a worker can await.
 * - no backoff: 0.
 *
 * @param attemptsMade failed attempts so far, from 1
 * @param random from 0 to 1, for tests
 * @throws RangeError or TypeError for an `attemptsMade` below 1 or a bad `delay`; whatever a custom strategy throws
 */
export function calculateBackoff(
  attemptsMade: number,
  backoff: BackoffOptions | undefined,
  random: () => number = Math.random,
): number {
  integerIn(attemptsMade, 'attemptsMade', 1, Number.MAX_SAFE_INTEGER);
  if (!backoff) return 0;
  if (backoff.type === 'custom') return customDelay(attemptsMade, backoff);

  const delay = parseDelay(backoff.delay, 'backoff.delay');
  const factor = 1 - JITTER + 2 * JITTER * random();
  if (backoff.type === 'fixed') return Math.round(delay * factor);

  // The exponent is limited because 0 * Infinity is NaN; 2^31 ms is above the cap anyway.
  const nominal = Math.min(CAP_MS, delay * 2 ** Math.min(attemptsMade - 1, 31));
  return Math.min(CAP_MS, Math.round(nominal * factor));
}

function durationOrNone(text: string): number {
  try {
    return parseDelay(text);
  } catch {
    return 0;
  }
}

function customDelay(attemptsMade: number, backoff: BackoffOptions): number {
  if (typeof backoff.customStrategy !== 'function') return 0;
  const delay = backoff.customStrategy(attemptsMade);
  if (typeof delay === 'string') return durationOrNone(delay);
  if (typeof delay === 'number') return Number.isFinite(delay) && delay > 0 ? Math.round(delay) : 0;
  // The promise is not awaited, so its rejection must be handled here.
  Promise.resolve(delay).catch(() => {});
  return 0;
}

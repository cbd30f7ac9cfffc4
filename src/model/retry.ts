import type { BackoffOptions } from './job.js';
import { parseDelay } from './options/duration.js';
import { integerIn } from './options/names.js';

const CAP_MS = 24 * 60 * 60 * 1000;

/** Jobs that failed together must not come back together: each pause is 75 % to 125 % of the nominal one. */
const JITTER = 0.25;

/**
 * The pause before the next attempt, in whole ms.
 *
 * - `fixed`: `delay`, ±25 %.
 * - `exponential`: `delay`, then twice as long after each attempt, ±25 %, at most 24 h.
 * - `custom`: what `customStrategy` answers; 0 when there is none here (it cannot be stored), or when it answers with
 *   a promise, which only a worker can await.
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
  if (backoff.type === 'custom') return customPause(attemptsMade, backoff);

  const delay = parseDelay(backoff.delay, 'backoff.delay');
  const factor = 1 - JITTER + 2 * JITTER * random();
  if (backoff.type === 'fixed') return Math.round(delay * factor);

  // The exponent has a limit because 0 * Infinity is NaN; 2^31 ms is past the cap anyway.
  const nominal = Math.min(CAP_MS, delay * 2 ** Math.min(attemptsMade - 1, 31));
  return Math.min(CAP_MS, Math.round(nominal * factor));
}

function customPause(attemptsMade: number, backoff: BackoffOptions): number {
  if (typeof backoff.customStrategy !== 'function') return 0;
  const pause = backoff.customStrategy(attemptsMade);
  if (typeof pause === 'number') return Number.isFinite(pause) && pause > 0 ? Math.round(pause) : 0;
  // Nobody awaits this promise; its rejection must not end the process.
  Promise.resolve(pause).catch(() => {});
  return 0;
}

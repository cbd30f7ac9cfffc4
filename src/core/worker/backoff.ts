import { ConveyorError } from '../../model/errors.js';
import type { BackoffOptions, BackoffStrategy, Duration, JobData } from '../../model/job.js';
import { MAX_DURATION_MS, parseDelay, withoutIn } from '../../model/options/duration.js';
import { errorText } from '../../model/payload/error-text.js';
import { calculateBackoff, withJitter } from '../../model/retry.js';

export interface Backoff {
  /** Until the next attempt, in ms. */
  readonly delayMs: number;
  /** Why the delay is not what the options ask for. */
  readonly warning: Error | undefined;
}

const NONE: Backoff = { delayMs: 0, warning: undefined };

/**
 * The delay before the attempt that follows the failed one. Never rejects: a bad backoff must not stop a job. A job that
 * 0.1.0 has stored may say `in ` before its delay.
 */
export async function backoffAfter(
  job: JobData,
  error: unknown,
  strategy: BackoffStrategy | undefined,
): Promise<Backoff> {
  const { backoff } = job.opts;
  const attemptsMade = job.attemptsMade + 1;
  if (backoff === undefined || attemptsMade >= (job.opts.attempts ?? 1)) return NONE;
  try {
    if (backoff.type !== 'custom') {
      const delayMs = calculateBackoff(attemptsMade, { ...backoff, delay: withoutIn(backoff.delay) });
      return { delayMs, warning: undefined };
    }
    if (!strategy) return failed(job, backoff, 'the worker has no backoffStrategy');
    const answer: unknown = await strategy(attemptsMade, error);
    const delayMs = Number.isNaN(Number(answer)) ? parseDelay(answer as Duration, 'its answer') : Number(answer);
    if (!Number.isFinite(delayMs) || delayMs < 0) return failed(job, backoff, `it answered ${delayMs}`);
    // At most what Postgres can add to a time.
    return { delayMs: Math.min(MAX_DURATION_MS, withJitter(delayMs, backoff)), warning: undefined };
  } catch (cause) {
    return failed(job, backoff, errorText(cause).message, cause);
  }
}

function failed({ id }: JobData, { delay }: BackoffOptions, reason: string, cause?: unknown): Backoff {
  const message = `The backoff of job "${id}" cannot be computed: ${reason}`;
  return { delayMs: plainDelay(delay), warning: new ConveyorError(message, { code: 'BACKOFF_FAILED', cause }) };
}

function plainDelay(delay: BackoffOptions['delay']): number {
  try {
    return parseDelay(withoutIn(delay));
  } catch {
    return 0;
  }
}

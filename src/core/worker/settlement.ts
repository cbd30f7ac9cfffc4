import type { BackoffOptions, BackoffStrategy } from '../../model/job.js';
import type { Logger } from '../../model/logger.js';
import { MAX_DURATION_MS, parseDelay } from '../../model/options/duration.js';
import { afterFailure } from '../../model/outcome.js';
import { encodeLenient, errorText } from '../../model/payload/values.js';
import { calculateBackoff } from '../../model/retry.js';
import type { Settlement } from '../../store/settle/settle.js';
import type { LeasedJob } from './leases.js';

/** How an attempt ended, before the rules of retrying are applied. */
export type AttemptEnd =
  | { readonly kind: 'completed'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly error: unknown; readonly final?: boolean }
  | { readonly kind: 'delayed'; readonly until: number }
  /** Given back unharmed. */
  | { readonly kind: 'released' };

export interface SettlementRules {
  readonly workerId: string;
  readonly backoffStrategy: BackoffStrategy | undefined;
  readonly maxPayloadBytes: number;
  readonly logger: Logger;
}

/** A result over the size limit is not stored, but the job did succeed. */
export class ResultTooLarge extends Error {}

export interface Prepared {
  readonly settlement: Settlement;
  /** What listeners should hear of beside the outcome. */
  readonly warning: Error | undefined;
}

/** `true` and 0: at once; a number: after so many ms; anything else: kept. */
function removeAfter(option: unknown): number | undefined {
  if (option === true) return 0;
  return typeof option === 'number' && option >= 0 ? option : undefined;
}

/**
 * What to write for the end of an attempt. Never throws: nothing about a job's options may leave it unsettled. Only a
 * failure may have to wait, for the worker's `backoffStrategy`.
 */
export function prepareSettlement(
  held: LeasedJob,
  end: AttemptEnd,
  rules: SettlementRules,
): Prepared | Promise<Prepared> {
  const plain = settlementOf(held, end.kind, rules);
  switch (end.kind) {
    case 'completed':
      return completion(plain, end.value, rules);
    case 'failed':
      return failure(held, plain, end, rules);
    case 'delayed':
      return { settlement: { ...plain, until: end.until }, warning: undefined };
    case 'released':
      return { settlement: plain, warning: undefined };
  }
}

function settlementOf({ stored, attempt }: LeasedJob, kind: Settlement['kind'], rules: SettlementRules): Settlement {
  const { job, lease } = stored;
  const { opts } = job;
  return {
    queueName: job.queueName,
    id: job.id,
    lease,
    workerId: rules.workerId,
    kind,
    result: kind === 'completed' ? 'null' : undefined,
    startedAt: job.processedAt ? iso(job.processedAt) : undefined,
    attempt: job.attemptsMade + 1,
    hasParent: job.parentId !== null,
    removeCompletedAfter: removeAfter(opts.removeOnComplete),
    removeFailedAfter: removeAfter(opts.removeOnFail),
    logs: attempt.logs.length > 0 ? JSON.stringify(attempt.logs.slice(-1_000)) : undefined,
  };
}

let lastMs = Number.NaN;
let lastIso = '';

/** Jobs that were claimed together began at the same time. Undefined for a date that a handler has spoiled. */
function iso(time: Date): string | undefined {
  const ms = time.getTime();
  if (Number.isNaN(ms)) return undefined;
  if (ms !== lastMs) {
    lastMs = ms;
    lastIso = time.toISOString();
  }
  return lastIso;
}

function completion(plain: Settlement, value: unknown, rules: SettlementRules): Prepared {
  if (value === undefined) return { settlement: plain, warning: undefined };
  const { text, tooLarge } = encodeLenient(value, rules.maxPayloadBytes);
  const warning = tooLarge
    ? new ResultTooLarge(`The result of job "${plain.id}" is over ${rules.maxPayloadBytes} bytes and was not stored.`)
    : undefined;
  return { settlement: { ...plain, result: text }, warning };
}

async function failure(
  held: LeasedJob,
  plain: Settlement,
  end: AttemptEnd & { kind: 'failed' },
  rules: SettlementRules,
): Promise<Prepared> {
  const { attempt, stored } = held;
  const { job } = stored;
  const { message, stack } = errorText(end.error);
  const { delayMs: backoffMs, warning } = await backoffOf(held, end.error, rules);
  const next = afterFailure({
    attemptsMade: job.attemptsMade,
    attempts: typeof job.opts.attempts === 'number' ? job.opts.attempts : 1,
    discarded: end.final === true || attempt.discarded || job.discarded,
    backoffMs,
  });
  const failed = { ...plain, reason: message, stack };
  return {
    settlement: next.kind === 'retry' ? { ...failed, kind: 'retry', delayMs: next.delayMs } : failed,
    warning,
  };
}

function plainDelay({ delay }: BackoffOptions): number {
  try {
    return parseDelay(delay);
  } catch {
    return 0;
  }
}

async function backoffOf(
  held: LeasedJob,
  error: unknown,
  rules: SettlementRules,
): Promise<{ delayMs: number; warning: Error | undefined }> {
  const { job } = held.stored;
  const { backoff } = job.opts;
  const attemptsMade = job.attemptsMade + 1;
  if (backoff === undefined || attemptsMade >= (job.opts.attempts ?? 1)) return { delayMs: 0, warning: undefined };
  try {
    if (backoff.type !== 'custom') return { delayMs: calculateBackoff(attemptsMade, backoff), warning: undefined };
    if (!rules.backoffStrategy) throw new Error('the worker has no backoffStrategy');
    const delayMs = Number(await rules.backoffStrategy(attemptsMade, error));
    if (!Number.isFinite(delayMs) || delayMs < 0) throw new RangeError(`it answered ${delayMs}`);
    // What Postgres can still add to a time.
    return { delayMs: Math.min(MAX_DURATION_MS, Math.round(delayMs)), warning: undefined };
  } catch (cause) {
    // The job goes on without a pause: better than not at all.
    const why = errorText(cause).message;
    const warning = new Error(`The backoff of job "${job.id}" cannot be computed: ${why}`, { cause });
    return { delayMs: plainDelay(backoff), warning };
  }
}

import { ConveyorError } from '../../model/errors.js';
import type { BackoffStrategy } from '../../model/job.js';
import type { Logger } from '../../model/logger.js';
import { afterFailure } from '../../model/outcome.js';
import { errorText } from '../../model/payload/error-text.js';
import { encodeLenient } from '../../model/payload/values.js';
import { MAX_LOG_LINES } from '../../store/change/log-and-progress.js';
import { keptFor } from '../../store/rules/retention.js';
import type { Settlement } from '../../store/settle/settle.js';
import type { AttemptEnd } from '../job/attempt.js';
import { backoffAfter } from './backoff.js';
import type { LeasedJob } from './leased-job.js';

export interface SettlementRules {
  readonly workerId: string;
  readonly backoffStrategy: BackoffStrategy | undefined;
  readonly maxPayloadBytes: number;
  readonly logger: Logger;
}

export interface Prepared {
  readonly settlement: Settlement;
  /** Emitted as an `error` event beside the outcome. */
  readonly warning: Error | undefined;
}

/**
 * What to write for the end of an attempt. Never throws or rejects: no option of a job may leave it unsettled. A
 * promise only for a failure, which may have to wait for the worker's `backoffStrategy`.
 */
export function prepareSettlement(
  job: LeasedJob,
  end: AttemptEnd,
  rules: SettlementRules,
): Prepared | Promise<Prepared> {
  const base = baseSettlement(job, end.kind, rules);
  switch (end.kind) {
    case 'completed':
      return completion(base, end.returnvalue, rules);
    case 'failed':
      return failure(job, base, end, rules);
    case 'delayed':
      return { settlement: { ...base, until: end.until, delayMs: end.delayMs }, warning: undefined };
    case 'released':
      return { settlement: base, warning: undefined };
  }
}

function baseSettlement({ stored, attempt }: LeasedJob, kind: Settlement['kind'], rules: SettlementRules): Settlement {
  const { queueName, id, lease, opts, processedMs, hasParent } = stored;
  return {
    queueName,
    id,
    lease,
    workerId: rules.workerId,
    kind,
    returnvalue: kind === 'completed' ? 'null' : undefined,
    startedAt: processedMs === undefined ? undefined : iso(processedMs),
    hasParent,
    place: attempt.place,
    keepCompletedMs: keptFor(opts, 'completed'),
    keepFailedMs: keptFor(opts, 'failed'),
    logs: attempt.logs && JSON.stringify(attempt.logs.slice(-MAX_LOG_LINES)),
  };
}

let lastMs = Number.NaN;
let lastIso = '';

/** Remembers the last answer, because jobs that were claimed together started at the same time. */
function iso(ms: number): string {
  if (ms !== lastMs) {
    lastMs = ms;
    lastIso = new Date(ms).toISOString();
  }
  return lastIso;
}

/** A result over the size limit is not stored, but the job has completed. */
function completion(base: Settlement, returnvalue: unknown, { maxPayloadBytes }: SettlementRules): Prepared {
  if (returnvalue === undefined) return { settlement: base, warning: undefined };
  const encoded = encodeLenient(returnvalue, maxPayloadBytes);
  const warning = encoded.tooLarge ? resultTooLarge(base.id, encoded.bytes, maxPayloadBytes) : undefined;
  return { settlement: { ...base, returnvalue: encoded.text }, warning };
}

const resultTooLarge = (id: string, bytes: number, maxBytes: number) =>
  new ConveyorError(
    `The result of job "${id}" is too large and was not stored: its JSON takes at least ${bytes} bytes, ` +
      `maxPayloadBytes allows ${maxBytes}.`,
    { code: 'RESULT_TOO_LARGE' },
  );

async function failure(
  { stored: { job }, attempt }: LeasedJob,
  base: Settlement,
  end: AttemptEnd & { kind: 'failed' },
  rules: SettlementRules,
): Promise<Prepared> {
  const { message, stack } = errorText(end.error);
  const { delayMs: backoffMs, warning } = await backoffAfter(job, end.error, rules.backoffStrategy);
  const next = afterFailure({
    attemptsMade: job.attemptsMade,
    attempts: typeof job.opts.attempts === 'number' ? job.opts.attempts : 1,
    discarded: end.final === true || attempt.discarded || job.discarded,
    backoffMs,
  });
  const failed = { ...base, reason: message, stack };
  return {
    settlement: next.kind === 'retry' ? { ...failed, kind: 'retry', delayMs: next.delayMs } : failed,
    warning,
  };
}

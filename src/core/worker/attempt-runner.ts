import type { StandardSchemaV1 } from '@standard-schema/spec';
import { InvalidPayloadError, JobFailedError, JobTimeoutError } from '../../model/errors.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { AttemptEnd } from '../job/attempt.js';
import { Job } from '../job/job.js';
import { checkedBy, validateData } from '../job/schemas.js';
import type { BatchResult } from './batch-result.js';
import type { LeasedJob } from './leased-job.js';

export interface RunnerOptions {
  readonly store: PgStore;
  // biome-ignore lint/suspicious/noExplicitAny: the public types of a worker say what its processor takes
  readonly processor: (jobs: any, signal?: AbortSignal) => unknown;
  /** The processor may look at its signal. */
  readonly takesSignal: boolean;
  readonly schemas: Record<string, StandardSchemaV1> | undefined;
  /** Asked right before the handler is called. */
  isClosed(): boolean;
  /** The time limit of the job has passed; its signal has aborted. */
  timedOut(job: LeasedJob, timeout: number): void;
  /** Called once per job, when its attempt can be settled. */
  ended(job: LeasedJob, end: AttemptEnd): void;
}

const MAX_TIMER_MS = 2_147_483_647;

/**
 * Runs the handler for one job, and reports how the attempt ended. Never throws.
 *
 * @param returned called once the handler has returned, or was not called
 */
export function runAttempt(leased: LeasedJob, options: RunnerOptions, returned: () => void): void {
  if (!options.schemas) {
    callHandler(leased, options, returned);
    return;
  }
  void endIfInvalid(leased, options).then((invalid) => {
    if (invalid) returned();
    else callHandler(leased, options, returned);
  });
}

function callHandler(leased: LeasedJob, options: RunnerOptions, returned: () => void): void {
  if (endIfStopped(leased, options)) {
    // Like a handler, never within the call that starts it.
    queueMicrotask(returned);
    return;
  }
  const { stored, attempt } = leased;
  const timer = armTimeout(leased, options);
  const ended = (how: AttemptEnd) => {
    clearTimeout(timer);
    end(leased, how, options);
    returned();
  };
  let result: unknown;
  try {
    const job = new Job(stored, options.store, attempt, attempt.checked);
    result = options.takesSignal ? options.processor(job, attempt.signal) : options.processor(job);
  } catch (error) {
    result = Promise.reject(error);
  }
  Promise.resolve(result).then(
    (returnvalue) => ended({ kind: 'completed', returnvalue }),
    (error) => ended({ kind: 'failed', error }),
  );
}

/** Runs the handler for a batch of jobs, and reports for each how its attempt ended. Never rejects. */
export async function runAttempts(batch: readonly LeasedJob[], options: RunnerOptions): Promise<void> {
  const valid: LeasedJob[] = [];
  for (const leased of batch) {
    if (!options.schemas || !(await endIfInvalid(leased, options))) valid.push(leased);
  }
  const running = valid.filter((leased) => !endIfStopped(leased, options));
  if (running.length === 0) return;
  const timers = running.map((leased) => armTimeout(leased, options));
  const jobs = running.map(({ stored, attempt }) => new Job(stored, options.store, attempt, attempt.checked));
  let ends: AttemptEnd[];
  try {
    ends = batchEnds(
      running,
      await (options.takesSignal ? options.processor(jobs, signalOf(running)) : options.processor(jobs)),
    );
  } catch (error) {
    ends = running.map(() => ({ kind: 'failed', error }));
  }
  for (const timer of timers) clearTimeout(timer);
  for (const [i, leased] of running.entries()) end(leased, ends[i] as AttemptEnd, options);
}

/**
 * Fails a job for good when its schema refuses its data: a retry would find the same data. A schema that throws (it may
 * look something up) has failed this attempt.
 */
async function endIfInvalid(leased: LeasedJob, options: RunnerOptions): Promise<boolean> {
  const { name, data } = leased.stored;
  try {
    const checked = checkedBy(options.schemas, name);
    if (checked) {
      const output = { data: await validateData(checked.schema, data, name) };
      leased.attempt.checked = { ...checked, output };
    }
    return false;
  } catch (error) {
    end(leased, { kind: 'failed', error, final: error instanceof InvalidPayloadError }, options);
    return true;
  }
}

/** Releases a job whose signal was aborted, or whose worker was closed, since it was claimed. */
function endIfStopped(leased: LeasedJob, options: RunnerOptions): boolean {
  if (!leased.attempt.abortReason && !options.isClosed()) return false;
  end(leased, { kind: 'released' }, options);
  return true;
}

/** A timeout overrides what the handler decided before it returned, and that overrides what it returned. */
export function end(leased: LeasedJob, returned: AttemptEnd, options: Pick<RunnerOptions, 'ended'>): void {
  const { attempt } = leased;
  if (attempt.ended) return;
  attempt.ended = true;
  const { decided, timedOut } = attempt;
  options.ended(leased, timedOut ? { kind: 'failed', error: timedOut } : (decided ?? returned));
}

/**
 * At the time limit the signal aborts, and the attempt has failed. The last attempt is settled at once; one that is
 * followed by another only when the handler has ended, so that the two do not overlap, or when its grace is over.
 */
function armTimeout(leased: LeasedJob, options: RunnerOptions): NodeJS.Timeout | undefined {
  const { stored } = leased;
  const { opts } = stored;
  const { timeout } = opts;
  if (typeof timeout !== 'number' || !(timeout > 0) || timeout > MAX_TIMER_MS) return undefined;
  const timer = setTimeout(() => {
    const { attempt } = leased;
    if (attempt.ended) return;
    attempt.timedOut = new JobTimeoutError(stored.id, timeout);
    attempt.abort(attempt.timedOut);
    const last = stored.attemptsMade + 1 >= (opts.attempts ?? 1) || stored.isDiscarded || attempt.discarded;
    if (last) end(leased, { kind: 'failed', error: attempt.timedOut }, options);
    options.timedOut(leased, timeout);
  }, timeout);
  // A handler that a forced close abandoned must not keep the process alive.
  timer.unref();
  return timer;
}

/** Of one job: its own signal. Of a batch: one that aborts when every job of it has been aborted. */
function signalOf(batch: readonly LeasedJob[]): AbortSignal {
  const [first] = batch;
  if (batch.length === 1 && first) return first.attempt.signal;
  const all = new AbortController();
  for (const { attempt } of batch) {
    attempt.signal.addEventListener(
      'abort',
      () => {
        if (batch.every((other) => other.attempt.abortReason)) all.abort(attempt.abortReason);
      },
      { once: true },
    );
  }
  return all.signal;
}

/** A malformed result fails its own job, not the batch. */
function batchEnds(batch: readonly LeasedJob[], results: unknown): AttemptEnd[] {
  if (!Array.isArray(results)) {
    const error = new TypeError('A batch processor must return an array with one result per job, in their order.');
    return batch.map(() => ({ kind: 'failed', error }));
  }
  return batch.map(({ stored }, i) => {
    const result = results[i] as Partial<BatchResult> & { value?: unknown; error?: unknown };
    if (result?.status === 'completed') return { kind: 'completed', returnvalue: result.value };
    if (result?.status === 'failed') {
      return { kind: 'failed', error: result.error ?? new JobFailedError(stored.id, 'failed') };
    }
    const error = new TypeError(
      `The batch processor's result ${i} is not { status: 'completed', value? } or { status: 'failed', error }.`,
    );
    return { kind: 'failed', error };
  });
}

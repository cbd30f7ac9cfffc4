import type { StandardSchemaV1 } from '@standard-schema/spec';
import { JobTimeoutError } from '../../model/errors.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { Job } from '../job/job.js';
import { validateData } from '../job/schemas.js';
import type { BatchResult } from './batch-result.js';
import type { LeasedJob } from './leases.js';
import type { AttemptEnd } from './settlement.js';

export interface RunnerOptions {
  readonly store: PgStore;
  // biome-ignore lint/suspicious/noExplicitAny: the public types of a worker say what its processor takes
  readonly processor: (jobs: any, signal: AbortSignal) => unknown;
  readonly schemas: Record<string, StandardSchemaV1> | undefined;
  /** Asked right before the handler is called. */
  mayStart(): boolean;
  /** Called once per job, when its attempt may be settled. */
  ended(held: LeasedJob, end: AttemptEnd): void;
}

const MAX_TIMER_MS = 2_147_483_647;

/** Runs the handler for one job, and says how it ended. Never rejects. */
export async function runAttempt(one: LeasedJob, options: RunnerOptions): Promise<void> {
  if ((options.schemas && (await misfits(one, options))) || !mayRun(one, options)) return;
  const { stored, attempt } = one;
  const timer = armTimeout(one, options);
  let returned: AttemptEnd;
  try {
    const job = new Job(stored.job, options.store, attempt);
    returned = { kind: 'completed', value: await options.processor(job, attempt.controller.signal) };
  } catch (error) {
    returned = { kind: 'failed', error };
  }
  clearTimeout(timer);
  end(one, returned, options);
}

/** Runs the handler for a batch of jobs, and says for each how it ended. Never rejects. */
export async function runAttempts(held: readonly LeasedJob[], options: RunnerOptions): Promise<void> {
  const fit: LeasedJob[] = [];
  for (const one of held) {
    if (!options.schemas || !(await misfits(one, options))) fit.push(one);
  }
  const open = fit.filter((one) => mayRun(one, options));
  if (open.length === 0) return;
  const timers = open.map((one) => armTimeout(one, options));
  const jobs = open.map(({ stored, attempt }) => new Job(stored.job, options.store, attempt));
  let ends: AttemptEnd[];
  try {
    ends = batchEnds(open, await options.processor(jobs, signalOf(open)));
  } catch (error) {
    ends = open.map(() => ({ kind: 'failed', error }));
  }
  for (const timer of timers) clearTimeout(timer);
  for (const [i, one] of open.entries()) end(one, ends[i] as AttemptEnd, options);
}

/** Ends a job whose data its schema does not take: it will not take them on a retry either. */
async function misfits(one: LeasedJob, options: RunnerOptions): Promise<boolean> {
  const problem = await dataProblem(one, options.schemas ?? {});
  if (problem) end(one, { kind: 'failed', error: problem, final: true }, options);
  return problem !== undefined;
}

/** Not if its signal has been aborted, or the worker closed, since it was taken: then it goes back. */
function mayRun(one: LeasedJob, options: RunnerOptions): boolean {
  if (!one.attempt.controller.signal.aborted && options.mayStart()) return true;
  end(one, { kind: 'released' }, options);
  return false;
}

/** What the handler decided before it returned stands; a timeout stands above all. */
function end(one: LeasedJob, returned: AttemptEnd, options: RunnerOptions): void {
  const { attempt } = one;
  if (attempt.ended) return;
  attempt.ended = true;
  const { verdict, timedOut } = attempt;
  if (timedOut) options.ended(one, { kind: 'failed', error: timedOut });
  else if (verdict?.kind === 'delayed') options.ended(one, { kind: 'delayed', until: verdict.until });
  else if (verdict?.kind === 'failed') options.ended(one, { kind: 'failed', error: verdict.error, final: true });
  else options.ended(one, returned);
}

/**
 * At the time limit the signal aborts and the attempt has failed. If another attempt follows, it is settled only when
 * the handler has really ended, so that the two never overlap; otherwise at once.
 */
function armTimeout(one: LeasedJob, options: RunnerOptions): NodeJS.Timeout | undefined {
  const { opts, id, attemptsMade, discarded } = one.stored.job;
  const { timeout } = opts;
  if (typeof timeout !== 'number' || !(timeout > 0) || timeout > MAX_TIMER_MS) return undefined;
  const timer = setTimeout(() => {
    const { attempt } = one;
    if (attempt.ended) return;
    attempt.timedOut = new JobTimeoutError(id, timeout);
    attempt.controller.abort(attempt.timedOut);
    const last = attemptsMade + 1 >= (opts.attempts ?? 1) || discarded || attempt.discarded;
    if (last) end(one, { kind: 'failed', error: attempt.timedOut }, options);
  }, timeout);
  // A handler that a forced close left behind must not keep the process.
  timer.unref();
  return timer;
}

/** One job: its own signal. A batch: aborts when every job of it has been aborted. */
function signalOf(held: readonly LeasedJob[]): AbortSignal {
  const [first] = held;
  if (held.length === 1 && first) return first.attempt.controller.signal;
  const all = new AbortController();
  for (const { attempt } of held) {
    attempt.controller.signal.addEventListener(
      'abort',
      () => {
        if (held.every((other) => other.attempt.controller.signal.aborted)) {
          all.abort(attempt.controller.signal.reason);
        }
      },
      { once: true },
    );
  }
  return all.signal;
}

/** One bad answer fails its own job, not the batch. */
function batchEnds(held: readonly LeasedJob[], answer: unknown): AttemptEnd[] {
  if (!Array.isArray(answer)) {
    const error = new TypeError('A batch processor must return an array with one result per job, in their order.');
    return held.map(() => ({ kind: 'failed', error }));
  }
  return held.map((_, i) => {
    const result = answer[i] as Partial<BatchResult> & { value?: unknown; error?: unknown };
    if (result?.status === 'completed') return { kind: 'completed', value: result.value };
    if (result?.status === 'failed') return { kind: 'failed', error: result.error ?? new Error('failed') };
    const error = new TypeError(
      `The batch processor's result ${i} is not { status: 'completed', value? } or { status: 'failed', error }.`,
    );
    return { kind: 'failed', error };
  });
}

async function dataProblem(held: LeasedJob, schemas: Record<string, StandardSchemaV1>): Promise<Error | undefined> {
  const { job } = held.stored;
  try {
    const schema = Object.hasOwn(schemas, job.name) ? schemas[job.name] : undefined;
    if (schema) job.data = await validateData(schema, job.data, job.name);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

import { newJobData } from '../../model/create-job-data.js';
import { ConveyorError } from '../../model/errors.js';
import { generateId } from '../../model/ids.js';
import type { NewJobData, RepeatOptions } from '../../model/job.js';
import { type ResolvedJobOptions, storedOptions } from '../../model/options/job-options.js';
import { validateName } from '../../model/options/names.js';
import { scheduledOptions } from '../../model/options/repeat-options.js';
import { encodePayload } from '../../model/payload/values.js';
import { firstTick, scheduleKey, scheduleOf } from '../../model/schedule/schedule.js';
import { encodeRecord, type JobRecord, plainRecord } from '../../store/add/insert.js';
import type { Registration } from '../../store/schedules/list.js';
import { checkInput, type JobSchemas, schemaOf } from '../job/schemas.js';

export type IdentifiedJob = NewJobData & { id: string };

/** A job that passed every check, and what is sent to save it. */
export interface Prepared {
  readonly job: IdentifiedJob;
  readonly record: JobRecord;
  /** Until it can run. */
  readonly delayMs: number;
  /** Of a repeating job: its schedule, which is saved with it. */
  readonly registration: Registration | undefined;
}

export interface PrepareRules {
  readonly schemas: JobSchemas | undefined;
  readonly maxPayloadBytes: number;
}

/**
 * The data to store: with schemas what JSON gives back of what was given, as workers make the schema's output of it, and
 * it must pass again there. The queue's name must be valid.
 */
export async function checkedData(
  queueName: string,
  name: string,
  data: unknown,
  { schemas, maxPayloadBytes }: PrepareRules,
): Promise<unknown> {
  return schemas ? (await checkInput(schemaOf(schemas, name, queueName), data, name, maxPayloadBytes)).json : data;
}

/** Checks a job, but for its data, and makes what is known of it. */
export function newJob(queueName: string, name: string, data: unknown, opts: ResolvedJobOptions): IdentifiedJob {
  validateName(name, 'job name');
  const { backoff, jobId } = opts.options;
  if (typeof backoff?.customStrategy === 'function') {
    throw new ConveyorError(
      'opts.backoff.customStrategy is a function and cannot be stored: give it to the workers as backoffStrategy, ' +
        "and add the job with backoff: { type: 'custom', delay }.",
      { code: 'STRATEGY_NOT_STORABLE' },
    );
  }
  const resolved = opts.options.repeat ? { ...opts, options: scheduledOptions(opts.options) } : opts;
  return newJobData(queueName, name, data, resolved, jobId ?? generateId()) as IdentifiedJob;
}

/** Checks and encodes a job that does not repeat, without any SQL. Its data has been checked by the schemas. */
export function prepare(
  queueName: string,
  name: string,
  data: unknown,
  opts: ResolvedJobOptions,
  maxPayloadBytes: number,
): Prepared {
  const { delayMs } = opts;
  if (isPlain(name, opts)) {
    const stored = storedOptions(opts, maxPayloadBytes);
    const job = newJob(queueName, name, data, opts);
    const json = encodePayload(data, { path: 'data', maxBytes: maxPayloadBytes });
    const plain = { name, opts: stored.json, priority: opts.options.priority ?? 0 };
    return { job, record: plainRecord(queueName, job.id, json, plain), delayMs, registration: undefined };
  }
  const job = newJob(queueName, name, data, opts);
  const record = encodeRecord(queueName, job.id, job, {
    maxPayloadBytes,
    delayMs: delayMs > 0 ? delayMs : undefined,
    ownId: opts.options.jobId === undefined,
    createdNow: true,
  });
  return { job, record, delayMs, registration: undefined };
}

/** Waits at once, and has nothing that concerns other jobs. */
function isPlain(name: unknown, { options, delayMs }: ResolvedJobOptions): name is string {
  const { jobId, group, deduplication, repeat, lifo } = options;
  if (delayMs > 0 || lifo === true) return false;
  if (jobId !== undefined || group !== undefined || deduplication !== undefined || repeat !== undefined) return false;
  return typeof name === 'string' && !name.includes('\n');
}

/**
 * Checks and encodes a repeating job: that of the first tick, and the schedule that makes the others.
 *
 * @param now resolves to the database's time, in epoch ms: by it all ticks are computed. Called after every check that
 * does not depend on the time.
 */
export async function prepareRepeating(
  queueName: string,
  name: string,
  data: unknown,
  opts: ResolvedJobOptions,
  rules: PrepareRules,
  now: () => Promise<number>,
): Promise<Prepared> {
  const { maxPayloadBytes } = rules;
  const job = newJob(queueName, name, await checkedData(queueName, name, data, rules), opts);
  const repeat = opts.options.repeat as RepeatOptions;
  const key = scheduleKey(name, repeat, job.data);
  const texts = {
    data: encodePayload(job.data, { path: 'data', maxBytes: maxPayloadBytes }),
    opts: encodePayload(job.opts, { path: 'opts', maxBytes: maxPayloadBytes }),
  };
  // Past by any clock, such as seconds given for milliseconds.
  firstTickAfter(repeat, LONG_PAST);
  const time = await now();
  const first = firstTickAfter(repeat, time);
  const delayed = first > time;
  job.state = delayed ? 'delayed' : 'waiting';
  job.delayUntil = delayed ? new Date(first) : null;
  const { cron, everyMs, tz, startAt, endAt } = scheduleOf(repeat);
  return {
    job,
    record: encodeRecord(queueName, job.id, job, { maxPayloadBytes, scheduleKey: key, createdNow: true }),
    delayMs: delayed ? first - time : 0,
    registration: {
      queueName,
      key,
      jobName: name,
      ...texts,
      cron,
      everyMs,
      tz,
      startAt,
      endAt,
      anchorAt: first,
      firstTick: first,
      limit: repeat.limit ?? null,
    },
  };
}

/** Before this package existed. */
const LONG_PAST = Date.UTC(2025, 0, 1);

function firstTickAfter(repeat: RepeatOptions, time: number): number {
  const first = firstTick(repeat, time);
  if (first !== null) return first;
  throw new RangeError(
    `opts.repeat never fires: ${JSON.stringify(repeat)} has no tick after ${new Date(time).toISOString()}, ` +
      (time === LONG_PAST ? 'which is long past.' : "which it is by the database's clock."),
  );
}

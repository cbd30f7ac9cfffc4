import { newJobData } from '../../model/create-job-data.js';
import { ConveyorError } from '../../model/errors.js';
import { generateId } from '../../model/ids.js';
import type { NewJobData, RepeatOptions } from '../../model/job.js';
import type { ResolvedJobOptions } from '../../model/options/job-options.js';
import { validateName } from '../../model/options/names.js';
import { scheduledOptions } from '../../model/options/repeat-options.js';
import { encodePayload } from '../../model/payload/values.js';
import { firstTick, scheduleKey, scheduleOf } from '../../model/schedule/schedule.js';
import { encodeRecord, type JobRecord } from '../../store/add/insert.js';
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
 * Checks a job and makes its data. The queue's name must be valid. With schemas the data is what JSON gives back of what
 * was given: workers make the schema's output of it, and it must pass again there.
 */
export async function newJob(
  queueName: string,
  name: string,
  data: unknown,
  opts: ResolvedJobOptions,
  { schemas, maxPayloadBytes }: PrepareRules,
): Promise<IdentifiedJob> {
  const stored = schemas
    ? (await checkInput(schemaOf(schemas, name, queueName), data, name, maxPayloadBytes)).json
    : data;
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
  return newJobData(queueName, name, stored, resolved, jobId ?? generateId()) as IdentifiedJob;
}

/** Checks and encodes a job that does not repeat, without any SQL. */
export async function prepare(
  queueName: string,
  name: string,
  data: unknown,
  opts: ResolvedJobOptions,
  rules: PrepareRules,
): Promise<Prepared> {
  const { maxPayloadBytes } = rules;
  const job = await newJob(queueName, name, data, opts, rules);
  const { delayMs } = opts;
  const record = encodeRecord(queueName, job.id, job, {
    maxPayloadBytes,
    delayMs: delayMs > 0 ? delayMs : undefined,
    ownId: opts.options.jobId === undefined,
    createdNow: true,
  });
  return { job, record, delayMs, registration: undefined };
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
  const job = await newJob(queueName, name, data, opts, rules);
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

import { newJobData } from '../../model/create-job-data.js';
import { ConveyorError } from '../../model/errors.js';
import { generateId } from '../../model/ids.js';
import type { NewJobData, RepeatOptions } from '../../model/job.js';
import type { ResolvedJobOptions } from '../../model/options/job-options.js';
import { validateName } from '../../model/options/names.js';
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
  return newJobData(queueName, name, stored, opts, jobId ?? generateId()) as IdentifiedJob;
}

/**
 * The job with its data as whoever reads it gets it, and no longer the caller's object: a Date in it is a string. It is
 * made when it is first looked at, which most callers of `add` never do.
 */
export function dataAsStored<J extends NewJobData>(job: J, { json }: JobRecord): J {
  if (typeof job.data !== 'object' || job.data === null) {
    if (job.data === undefined) job.data = null;
    return job;
  }
  const define = (property: PropertyDescriptor) =>
    Object.defineProperty(job, 'data', { ...property, enumerable: true, configurable: true });
  const set = (value: unknown) => define({ value, writable: true });
  const get = () => {
    const { data } = JSON.parse(json) as { data: unknown };
    set(data);
    return data;
  };
  return define({ get, set });
}

/** Checks and encodes a job, without any SQL. */
export async function prepare(
  queueName: string,
  name: string,
  data: unknown,
  opts: ResolvedJobOptions,
  rules: PrepareRules,
): Promise<Prepared> {
  const { maxPayloadBytes } = rules;
  const job = await newJob(queueName, name, data, opts, rules);
  const { repeat, jobId } = opts.options;
  if (repeat) return prepareRepeating(job, repeat, maxPayloadBytes, Date.now());
  const { delayMs } = opts;
  const record = encodeRecord(queueName, job.id, job, {
    maxPayloadBytes,
    delayMs: delayMs > 0 ? delayMs : undefined,
    ownId: jobId === undefined,
    createdNow: true,
  });
  return { job, record, delayMs, registration: undefined };
}

/**
 * The job of the first tick, and the schedule that makes the others. Sets the state of `job`.
 *
 * @param now epoch ms. Later ticks are computed by the database's clock, so what is saved must use that, too.
 */
export function prepareRepeating(
  job: IdentifiedJob,
  repeat: RepeatOptions,
  maxPayloadBytes: number,
  now: number,
): Prepared {
  const first = firstTick(repeat, now);
  if (first === null) {
    throw new RangeError(`opts.repeat never fires: ${JSON.stringify(repeat)} has no tick before its endDate.`);
  }
  const delayed = first > now;
  job.state = delayed ? 'delayed' : 'waiting';
  job.delayUntil = delayed ? new Date(first) : null;
  const key = scheduleKey(job.name, repeat, job.data);
  const { cron, everyMs, tz, startAt, endAt } = scheduleOf(repeat);
  return {
    job,
    record: encodeRecord(job.queueName, job.id, job, { maxPayloadBytes, scheduleKey: key, createdNow: true }),
    delayMs: delayed ? first - now : 0,
    registration: {
      queueName: job.queueName,
      key,
      jobName: job.name,
      data: encodePayload(job.data, { path: 'data', maxBytes: maxPayloadBytes }),
      opts: encodePayload(job.opts, { path: 'opts', maxBytes: maxPayloadBytes }),
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

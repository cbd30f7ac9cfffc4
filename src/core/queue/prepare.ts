import { createJobData } from '../../model/create-job-data.js';
import { ConveyorError } from '../../model/errors.js';
import { generateId } from '../../model/ids.js';
import type { JobOptions, NewJobData, RepeatOptions } from '../../model/job.js';
import { parseDelay } from '../../model/options/duration.js';
import { encodePayload } from '../../model/payload/values.js';
import { firstTick, scheduleKey, scheduleOf } from '../../model/schedule/schedule.js';
import { encodeRecord, type JobRecord } from '../../store/add/insert.js';
import type { Registration } from '../../store/schedules/list.js';
import { type JobSchemas, schemaOf, validateData } from '../job/schemas.js';

export type OwnJob = NewJobData & { id: string };

/** A job that passed every check: what remains is to save it. */
export interface Prepared {
  readonly job: OwnJob;
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

/** Checks a job, without any SQL. `opts` are validated already. */
export async function prepare(
  queueName: string,
  name: string,
  data: unknown,
  opts: JobOptions,
  { schemas, maxPayloadBytes }: PrepareRules,
): Promise<Prepared> {
  const checked = schemas ? await validateData(schemaOf(schemas, name, queueName), data, name) : data;
  const created = createJobData(queueName, name, checked, opts);
  if (typeof opts.backoff?.customStrategy === 'function') {
    throw new ConveyorError(
      'opts.backoff.customStrategy is a function and cannot be stored: give it to the workers as backoffStrategy, ' +
        "and add the job with backoff: { type: 'custom', delay }.",
      { code: 'STRATEGY_NOT_STORABLE' },
    );
  }
  const job: OwnJob = { ...created, id: created.id ?? generateId() };
  if (opts.repeat) return prepareRepeating(job, opts.repeat, maxPayloadBytes, Date.now());
  const delayMs = opts.delay === undefined ? 0 : parseDelay(opts.delay, 'opts.delay');
  const record = encodeRecord(queueName, job.id, job, {
    maxPayloadBytes,
    delayMs: delayMs > 0 ? delayMs : undefined,
    ownId: created.id === undefined,
    // How long the key is kept counts from the database's time.
    createdNow: opts.deduplication?.ttl !== undefined,
  });
  return { job, record, delayMs, registration: undefined };
}

/**
 * The job of the first tick, and the schedule that makes the others.
 *
 * @param now epoch ms: every later tick is worked out by the database's clock, so in the end this one must be, too
 */
export function prepareRepeating(job: OwnJob, repeat: RepeatOptions, maxPayloadBytes: number, now: number): Prepared {
  const first = firstTick(repeat, now);
  if (first === null) {
    throw new RangeError(`opts.repeat never fires: ${JSON.stringify(repeat)} has no tick before its endDate.`);
  }
  const due = first > now;
  const tick: OwnJob = { ...job, state: due ? 'delayed' : 'waiting', delayUntil: due ? new Date(first) : null };
  const key = scheduleKey(job.name, repeat, job.data);
  const { cron, everyMs, tz, startAt, endAt } = scheduleOf(repeat);
  return {
    job: tick,
    record: encodeRecord(job.queueName, job.id, tick, { maxPayloadBytes, scheduleKey: key }),
    delayMs: due ? first - now : 0,
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

import { isPassing } from '../../db/errors.js';
import { createJobData } from '../../model/create-job-data.js';
import { generateId } from '../../model/ids.js';
import { scheduledOptions } from '../../model/options/repeat-options.js';
import { nextTick } from '../../model/schedule/schedule.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { encodeRecord, type JobRecord } from '../add/insert.js';
import type { Engine } from '../runtime/engine.js';
import { type Advanced, advanceSchedules, dueSchedules, postponeSchedule, type Tick } from './advance.js';

/** Of one statement. */
const MAX_BYTES = 8 * 1024 * 1024;

/**
 * Advances every schedule of the queue whose tick has passed; resolves to how many were. Ticks that were missed while
 * nothing ran get no job: the job of the tick that has passed exists already, and the next one is for the first tick to
 * come.
 */
export async function tickSchedules(engine: Engine, queueName: string): Promise<number> {
  const { schedules, now } = await dueSchedules(engine.executor, queueName);
  const ticks: Tick[] = [];
  for (const schedule of schedules) {
    try {
      const at = tickAfter(schedule, now);
      ticks.push({ schedule, next: at === null ? null : { at, record: recordOf(schedule) } });
    } catch (error) {
      await putOff(engine, schedule, error);
    }
  }
  let count = 0;
  for (const chunk of chunks(ticks)) count += await advanceAll(engine, queueName, chunk);
  return count;
}

/** Refused, they are tried in halves until the one that is refused stands alone. */
async function advanceAll(engine: Engine, queueName: string, ticks: readonly Tick[]): Promise<number> {
  const { executor, setAside } = engine;
  try {
    const done = await advanceSchedules(executor, queueName, ticks, setAside.skip);
    announce(engine, queueName, done);
    return done.keys.length;
  } catch (error) {
    // After a lost connection, or with a full disk, the ticks are still due.
    if (isPassing(error)) throw error;
    const [first] = ticks;
    if (ticks.length === 1 && first) {
      await putOff(engine, first.schedule, error);
      return 0;
    }
    const half = Math.ceil(ticks.length / 2);
    const count = await advanceAll(engine, queueName, ticks.slice(0, half));
    return count + (await advanceAll(engine, queueName, ticks.slice(half)));
  }
}

function announce({ notifier }: Engine, queueName: string, { waiting, delayed, removed }: Advanced): void {
  for (const id of removed) notifier.publish('job:removed', queueName, id);
  for (const id of delayed) notifier.publish('job:delayed', queueName, id);
  for (const id of waiting) notifier.publish('job:waiting', queueName, id);
  if (waiting.length > 0) notifier.wake(queueName);
}

/** A damaged row must not hold up the others. */
async function putOff(engine: Engine, schedule: StoredSchedule, error: unknown): Promise<void> {
  engine.options.logger.error(
    `conveyor: schedule "${schedule.key}" of queue "${schedule.queueName}" cannot be advanced, and is tried again in ` +
      `an hour: ${(error as Error).message}`,
    error,
  );
  await postponeSchedule(engine.executor, schedule);
}

/** Whatever the limit: a tick that is passed over does not count. */
function tickAfter(schedule: StoredSchedule, now: number): number | null {
  const { cron, everyMs, tz, startAt, endAt, anchorAt } = schedule;
  const times = { startAt: startAt?.getTime() ?? null, endAt: endAt?.getTime() ?? null };
  const next = nextTick({ cron, everyMs, tz, ...times }, now, anchorAt.getTime());
  if (next !== null && !(next > now)) throw new RangeError(`its next tick would be ${next}, not after ${now}`);
  return next;
}

/**
 * The job of a tick. The options are taken as they are stored, unchecked: another version of this package may know more
 * of them. An id of the caller's is that of the first job.
 */
function recordOf({ queueName, key, jobName, data, opts }: StoredSchedule): JobRecord {
  const { jobId: _first, ...rest } = scheduledOptions(opts);
  const job = { ...createJobData(queueName, jobName, data), opts: rest, groupId: rest.group?.id ?? null };
  // Its size was checked when it was registered.
  return encodeRecord(queueName, generateId(), job, {
    maxPayloadBytes: Number.MAX_SAFE_INTEGER,
    scheduleKey: key,
    createdNow: true,
  });
}

function* chunks(ticks: readonly Tick[]): Generator<Tick[]> {
  let chunk: Tick[] = [];
  let bytes = 0;
  for (const tick of ticks) {
    const size = tick.next?.record.bytes ?? 0;
    if (chunk.length > 0 && bytes + size > MAX_BYTES) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(tick);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

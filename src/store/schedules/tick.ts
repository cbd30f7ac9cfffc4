import { faultOf } from '../../db/errors.js';
import { createJobData } from '../../model/create-job-data.js';
import { generateId } from '../../model/ids.js';
import { hashJob } from '../../model/payload/hash.js';
import { nextTick } from '../../model/schedule/schedule.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { encodeRecord, type JobRecord } from '../add/insert.js';
import type { Engine } from '../runtime/engine.js';
import { advanceSchedule, dueSchedules, postponeSchedule } from './advance.js';

/**
 * Makes the next job of every schedule of the queue whose tick has passed; resolves to how many jobs were made. Ticks
 * that were missed while nothing ran get no job: the job of the tick that has passed exists already, and the next one is
 * for the first tick to come.
 */
export async function tickSchedules(engine: Engine, queueName: string): Promise<number> {
  const { executor, notifier, options } = engine;
  const { schedules, now } = await dueSchedules(executor, queueName);
  let made = 0;
  for (const schedule of schedules) {
    try {
      const next = tickAfter(schedule, now);
      const record = next === null ? null : recordOf(schedule, next);
      const { jobId } = await advanceSchedule(executor, schedule, next, record);
      if (jobId === null) continue;
      made++;
      notifier.publish('job:delayed', queueName, jobId);
    } catch (error) {
      // After a lost connection the tick is still due. A damaged row must not hold up the others.
      if (faultOf(error) !== 'refused') throw error;
      options.logger.error(
        `conveyor: schedule "${schedule.key}" of queue "${queueName}" cannot be advanced, and is tried again in an ` +
          `hour: ${(error as Error).message}`,
        error,
      );
      await postponeSchedule(executor, schedule);
    }
  }
  return made;
}

function tickAfter(schedule: StoredSchedule, now: number): number | null {
  if (schedule.runsLeft !== null && schedule.runsLeft <= 0) return null;
  const { cron, everyMs, tz, startAt, endAt, anchorAt } = schedule;
  const times = { startAt: startAt?.getTime() ?? null, endAt: endAt?.getTime() ?? null };
  const next = nextTick({ cron, everyMs, tz, ...times }, now, anchorAt.getTime());
  if (next !== null && !(next > now)) throw new RangeError(`its next tick would be ${next}, not after ${now}`);
  return next;
}

/**
 * The options are taken as they are stored, unchecked: another version of this package may know more of them. An id of
 * the caller's was that of the first job.
 */
function recordOf({ queueName, key, jobName, data, opts }: StoredSchedule, next: number): JobRecord {
  const { jobId: _first, ...rest } = opts;
  const { deduplication, group } = rest;
  const job = {
    ...createJobData(queueName, jobName, data),
    opts: rest,
    state: 'delayed' as const,
    delayUntil: new Date(next),
    groupId: group?.id ?? null,
    deduplicationKey: deduplication ? (deduplication.key ?? hashJob(jobName, data)) : null,
  };
  // Its size was checked when it was registered.
  return encodeRecord(queueName, generateId(), job, {
    maxPayloadBytes: Number.MAX_SAFE_INTEGER,
    scheduleKey: key,
    createdNow: true,
  });
}

import type { JobOptions, NewJobData } from './job.js';
import { timeOf } from './options/dates.js';
import { parseDelay } from './options/duration.js';
import { storableOptions, validateJobOptions } from './options/job-options.js';
import { validateName, validateQueueName } from './options/names.js';
import { hashJob } from './payload/hash.js';

/**
 * A new job, to be saved: without an id unless `opts.jobId` gives one; `delayed` with `delayUntil` when `delay` or a
 * `repeat.startDate` that is still to come says so, else `waiting`. When a cron schedule is due is not decided here:
 * `firstTick` says it.
 *
 * @throws RangeError or TypeError for a bad name or option; InvalidPayloadError for data that cannot be hashed, with
 * `deduplication: { hash: true }`
 */
export function createJobData<T>(queueName: string, name: string, data: T, opts?: JobOptions): NewJobData<T> {
  validateQueueName(queueName);
  validateName(name, 'job name');
  const options = validateJobOptions(opts);
  const createdAt = new Date();
  const delayUntil = dueTime(options, createdAt.getTime());
  return {
    ...(options.jobId === undefined ? {} : { id: options.jobId }),
    name,
    queueName,
    data,
    state: delayUntil === null ? 'waiting' : 'delayed',
    attemptsMade: 0,
    progress: 0,
    returnvalue: null,
    failedReason: null,
    opts: storableOptions(options),
    deduplicationKey: deduplicationKey(options, name, data),
    logs: [],
    stacktrace: [],
    createdAt,
    processedAt: null,
    completedAt: null,
    failedAt: null,
    delayUntil,
    lockUntil: null,
    cancelledAt: null,
    lockedBy: null,
    parentId: null,
    parentQueueName: null,
    pendingChildrenCount: 0,
    groupId: options.group?.id ?? null,
    discarded: false,
    childrenIds: [],
    attemptLogs: [],
  };
}

function dueTime({ delay, repeat }: JobOptions, now: number): Date | null {
  if (delay !== undefined) {
    const ms = parseDelay(delay, 'opts.delay');
    if (ms > 0) return new Date(now + ms);
  }
  if (repeat?.startDate === undefined) return null;
  const start = timeOf(repeat.startDate, 'opts.repeat.startDate');
  return start > now ? new Date(start) : null;
}

function deduplicationKey({ deduplication }: JobOptions, name: string, data: unknown): string | null {
  if (!deduplication) return null;
  return deduplication.key ?? hashJob(name, data);
}

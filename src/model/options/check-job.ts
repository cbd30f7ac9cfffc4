import type { NewJobData } from '../job.js';
import { show } from '../text.js';
import { assertJobState, integerIn, validateName } from './names.js';

const MAX_INT = 2_147_483_647;
const TIMES = [
  'processedAt',
  'completedAt',
  'failedAt',
  'delayUntil',
  'lockUntil',
  'cancelledAt',
] as const satisfies readonly (keyof NewJobData)[];
const NAMES = ['deduplicationKey', 'groupId', 'lockedBy', 'parentId', 'parentQueueName'] as const;

function checkTime(value: unknown, name: string): void {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) {
    throw new TypeError(`${name} is ${show(value)}; it must be a valid Date.`);
  }
}

/**
 * Checks a job that is to be saved, field by field.
 *
 * @throws TypeError or RangeError that names the field
 */
export function checkNewJob(job: NewJobData): void {
  if (job === null || typeof job !== 'object' || Array.isArray(job)) {
    throw new TypeError(`The job is ${show(job)}; it must be an object: createJobData makes one.`);
  }
  validateName(job.name, 'job.name');
  assertJobState(job.state);
  checkTime(job.createdAt, 'job.createdAt');
  for (const name of TIMES) if (job[name] != null) checkTime(job[name], `job.${name}`);
  for (const name of NAMES) if (job[name] != null) validateName(job[name], `job.${name}`);
  integerIn(job.attemptsMade ?? 0, 'job.attemptsMade', 0, MAX_INT);
  integerIn(job.pendingChildrenCount ?? 0, 'job.pendingChildrenCount', 0, MAX_INT);
  const { progress } = job;
  if (progress != null && !(typeof progress === 'number' && progress >= 0 && progress <= 100)) {
    throw new RangeError(`job.progress is ${show(progress)}; it must be a number from 0 to 100.`);
  }
  if (job.opts === null || typeof job.opts !== 'object' || Array.isArray(job.opts)) {
    throw new TypeError(`job.opts is ${show(job.opts)}; it must be an object.`);
  }
  if (job.opts.priority !== undefined) integerIn(job.opts.priority, 'job.opts.priority', -MAX_INT - 1, MAX_INT);
}

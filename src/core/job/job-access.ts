import { InvalidJobStateError, JobNotFoundError, LeaseLostError } from '../../model/errors.js';
import type { JobState } from '../../model/job.js';
import type { ChangeAnswer } from '../../store/change/job-verbs.js';
import { MAX_LOG_LINES } from '../../store/read/find.js';
import type { Attempt } from './attempt.js';

/** Turns the answer of a verb into the error that the caller of `Job` expects. */
export function assertDone(
  answer: ChangeAnswer,
  job: { id: string; queueName: string },
  expected: JobState | JobState[],
  attempt?: Attempt,
): void {
  if (answer.done) return;
  if (attempt) throw new LeaseLostError(job.id, job.queueName);
  if (answer.found === null) throw new JobNotFoundError(job.id, job.queueName);
  throw new InvalidJobStateError(job.id, answer.found, expected);
}

const MAX_DATE_MS = 8.64e15;

/** Epoch ms. What lies before 1970 is due all the same, and Postgres cannot hold all of it. */
export function timeToRun(timestamp: number | Date): number {
  const until = typeof timestamp === 'number' ? timestamp : Number(timestamp);
  if (Number.isFinite(until) && Math.abs(until) <= MAX_DATE_MS) return Math.max(0, until);
  throw new RangeError(`moveToDelayed(${String(timestamp)}): it takes a time, in epoch ms or as a Date.`);
}

/** Adds a line to what is known of a log. */
export function keepNewest(lines: string[], line: string): void {
  lines.push(line);
  // Not with each line: that would be a copy of all of them.
  if (lines.length > 2 * MAX_LOG_LINES) lines.splice(0, lines.length - MAX_LOG_LINES);
}

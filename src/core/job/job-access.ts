import { InvalidJobStateError, JobNotFoundError, LeaseLostError } from '../../model/errors.js';
import type { JobState } from '../../model/job.js';
import { show } from '../../model/text.js';
import type { ChangeAnswer } from '../../store/change/change.js';
import { MAX_LOG_LINES } from '../../store/change/log-and-progress.js';
import type { Attempt } from './attempt.js';

/** Translates the answer of a change into the error that the caller of `Job` expects. */
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

/** Epoch ms of a time to run at; RangeError when it is none, or does not lie in the future. */
export function timeToRun(timestamp: number | Date): number {
  const until = typeof timestamp === 'object' ? Number(timestamp) : timestamp;
  if (typeof until === 'number' && until > Date.now() && until <= MAX_DATE_MS) return until;
  const allowed = 'a time in the future, in epoch milliseconds or as a Date';
  throw new RangeError(`moveToDelayed(${show(timestamp)}): timestamp must be ${allowed}.`);
}

/** Appends a line to a list that need not hold more than the newest `MAX_LOG_LINES`. */
export function keepNewest(lines: string[], line: string): void {
  lines.push(line);
  // At twice the size and not with each line, because each cut copies the list.
  if (lines.length > 2 * MAX_LOG_LINES) lines.splice(0, lines.length - MAX_LOG_LINES);
}

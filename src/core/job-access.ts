import { InvalidJobStateError, JobNotFoundError, LeaseLostError } from '../model/errors.js';
import type { JobState } from '../model/job.js';
import type { VerbAnswer } from '../store/job-verbs.js';
import type { Attempt } from './attempt.js';

/** Turns the answer of a verb into the error that the caller of `Job` expects. */
export function assertDone(
  answer: VerbAnswer,
  job: { id: string; queueName: string },
  expected: JobState | JobState[],
  attempt?: Attempt,
): void {
  if (answer.done) return;
  if (attempt) throw new LeaseLostError(job.id, job.queueName);
  if (answer.found === null) throw new JobNotFoundError(job.id, job.queueName);
  throw new InvalidJobStateError(job.id, answer.found, expected);
}

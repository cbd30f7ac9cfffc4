import { JobNotFoundError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import type { JobKey } from '../../store/read/job-status.js';
import { CANCELLED_REASON } from '../../store/rules/reasons.js';

/** How a job ended, as its observers see it. */
export type JobEnd =
  | { readonly kind: 'completed'; readonly returnvalue: unknown }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'cancelled' }
  /** The job was removed, and no event reported how it had ended. */
  | { readonly kind: 'missing' }
  /** The store was disconnected. */
  | { readonly kind: 'closed' };

/** Why a job did not complete. */
export function reasonOf(end: JobEnd, { id, queueName }: JobKey): string {
  if (end.kind === 'failed') return end.reason;
  return end.kind === 'cancelled' ? CANCELLED_REASON : new JobNotFoundError(id, queueName).message;
}

/** What the end changes of the job, for one whose row is gone or has changed again. */
export function changeOf(end: JobEnd, key: JobKey): Partial<JobData> {
  const left = { lockedBy: null, lockUntil: null };
  if (end.kind === 'completed') return { ...left, state: 'completed', returnvalue: end.returnvalue };
  return { ...left, state: 'failed', failedReason: reasonOf(end, key) };
}

import type { JobOf } from '../job/typed-job.js';
import type { BatchResult } from './batch-result.js';

export type Processor<T> = (job: JobOf<T>, signal: AbortSignal) => unknown;
export type BatchProcessor<T> = (
  jobs: JobOf<T>[],
  signal: AbortSignal,
) => readonly BatchResult[] | Promise<readonly BatchResult[]>;

export interface WorkerEvents<T> {
  active: JobOf<T>;
  completed: { job: JobOf<T>; result: unknown };
  /** Once, when the job has failed for good or was cancelled. */
  failed: { job: JobOf<T>; error: Error };
  /** After a failed attempt that is followed by another: `delay` ms later, 0 for at once. */
  retrying: { job: JobOf<T>; error: Error; attemptsMade: number; delay: number };
  /** The id of a job whose lease expired; it was returned to waiting, or failed. */
  stalled: string;
  cancelled: JobOf<T>;
  /** The handler has not ended within the job's `timeout` (ms); its signal has aborted. */
  timeout: { job: JobOf<T>; timeout: number };
  /** The handler has not ended `grace` ms after its signal aborted; its slot is free, and its attempt has ended. */
  abandoned: { job: JobOf<T>; grace: number };
  error: Error;
}

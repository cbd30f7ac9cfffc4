import type { ReturnOf } from '../../model/job-types.js';
import type { CheckedJobOf, JobOf } from '../job/typed-job.js';
import type { BatchResult } from './batch-result.js';

/** A handler: returns the result, or throws. */
export type Processor<T> = Handler<JobOf<T>, T>;
/** The handler of a worker with schemas. */
export type CheckedProcessor<T> = Handler<CheckedJobOf<T>, T>;
type Handler<J, T> = (job: J, signal: AbortSignal) => Returned<T> | PromiseLike<Returned<T>>;
// What a handler returns must not be taken for what its jobs carry.
type Returned<T> = NoInfer<ReturnOf<T>>;

/** A handler of many jobs: returns one result for each, in their order. */
export type BatchProcessor<T> = BatchHandler<JobOf<T>, T>;
/** The same in a worker with schemas. */
export type CheckedBatchProcessor<T> = BatchHandler<CheckedJobOf<T>, T>;
type BatchHandler<J, T> = (
  jobs: J[],
  signal: AbortSignal,
) => readonly BatchResult<Returned<T>>[] | PromiseLike<readonly BatchResult<Returned<T>>[]>;

/** The data of these jobs is as it is stored, also where schemas make something else of it for the handler. */
export interface WorkerEvents<T> {
  active: JobOf<T>;
  /** `result` is what the handler returned, `job.returnvalue` what is stored of it. */
  completed: { job: JobOf<T>; result: ReturnOf<T> };
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

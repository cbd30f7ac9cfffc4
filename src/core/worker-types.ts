import type { DataOf, IsJobMap, JobName } from '../model/job-types.js';
import type { BatchResult } from './batch-result.js';
import type { Job } from './job.js';

/** What a processor receives: with a job map a union that `job.name` tells apart. */
export type WorkerJob<T> =
  IsJobMap<T> extends true ? { [K in JobName<T>]: Job<DataOf<T, K>, K> }[JobName<T>] : Job<DataOf<T>>;

export type Processor<T> = (job: WorkerJob<T>, signal: AbortSignal) => unknown;
export type BatchProcessor<T> = (
  jobs: WorkerJob<T>[],
  signal: AbortSignal,
) => readonly BatchResult[] | Promise<readonly BatchResult[]>;

export interface WorkerEvents<T> {
  active: WorkerJob<T>;
  completed: { job: WorkerJob<T>; result: unknown };
  /** After every failed attempt; `job.state` says whether it was the last. */
  failed: { job: WorkerJob<T>; error: Error };
  /** The id of a job whose worker was lost; it was returned to waiting, or failed. */
  stalled: string;
  cancelled: WorkerJob<T>;
  error: Error;
}

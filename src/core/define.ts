import type { JobSchemas } from './job/schemas.js';
import type { JobsOfSchemas } from './job/typed-job.js';
import { Queue } from './queue/queue.js';
import type { QueueOptions } from './queue/queue-types.js';
import { Worker } from './worker/worker.js';
import type { WorkerOptions } from './worker/worker-options.js';
import type { CheckedBatchProcessor, CheckedProcessor, Processor } from './worker/worker-types.js';

/**
 * A queue whose job names and payloads follow from its schemas. `add` takes the input of a schema and stores it as JSON,
 * and refuses what would not pass again when it comes back from there. Names without a schema are refused as well.
 */
export function defineQueue<S extends JobSchemas>(
  name: string,
  options: Omit<QueueOptions, 'schemas'> & { schemas: S },
): Queue<JobsOfSchemas<S>> {
  return new Queue<JobsOfSchemas<S>>(name, options as unknown as QueueOptions<JobsOfSchemas<S>>);
}

type WithSchemas<S> = Omit<WorkerOptions, 'schemas' | 'batch'> & { schemas: S };

/** A worker whose handler gets what its schemas make of the data of a job: their output. */
export function defineWorker<S extends JobSchemas>(
  queueName: string,
  processor: CheckedProcessor<JobsOfSchemas<S>>,
  options: WithSchemas<S> & { batch?: never },
): Worker<JobsOfSchemas<S>>;
export function defineWorker<S extends JobSchemas>(
  queueName: string,
  processor: CheckedBatchProcessor<JobsOfSchemas<S>>,
  options: WithSchemas<S> & { batch: { size: number } },
): Worker<JobsOfSchemas<S>>;
export function defineWorker<S extends JobSchemas>(
  queueName: string,
  processor: CheckedProcessor<JobsOfSchemas<S>> | CheckedBatchProcessor<JobsOfSchemas<S>>,
  options: WithSchemas<S> & { batch?: { size: number } },
): Worker<JobsOfSchemas<S>> {
  type Jobs = JobsOfSchemas<S>;
  const all = options as unknown as WorkerOptions<Jobs> & { batch?: never; schemas?: never };
  return new Worker<Jobs>(queueName, processor as unknown as Processor<Jobs>, all);
}

/** The jobs of a queue, for its workers: `new Worker<JobsOf<typeof emails>>(…)`. */
export type JobsOf<Q> = Q extends Queue<infer T> ? T : never;

/** The core: everything that an app uses to add and run jobs, over a `PgStore`. */
export { calculateBackoff } from '../model/backoff.js';
export { createJobData } from '../model/create-job-data.js';
export { parseDelay } from '../model/duration.js';
export * from '../model/errors.js';
export type { StoreEvent, StoreEventCallback, StoreEventType } from '../model/event.js';
export { hashPayload } from '../model/hash.js';
export { generateId, generateWorkerId } from '../model/ids.js';
export * from '../model/job.js';
export type { JobMap, Payload } from '../model/job-types.js';
export { consoleLogger, type Logger, noopLogger } from '../model/logger.js';
export { assertJobState, validateQueueName } from '../model/names.js';
export { validateTimezone } from '../model/schedule.js';
export type * from '../model/store-interface.js';
export type { StoredSchedule } from '../model/stored-schedule.js';
export type { BatchResult } from './batch-result.js';
export { EventBus } from './event-bus.js';
export { type FlowJob, type FlowNode, FlowProducer } from './flow-producer.js';
export { Job } from './job.js';
export { JobObservable, type JobObserver } from './job-observable.js';
export {
  type AddedJob,
  type BulkItems,
  defineQueue,
  Queue,
  type QueueEvents,
  type QueueOptions,
  type TransactionalQueue,
} from './queue.js';
export type { JobSchemas } from './schemas.js';
export { NotCommittedError } from './settle-in.js';
export { Worker } from './worker.js';
export type { WorkerOptions } from './worker-options.js';
export type { BatchProcessor, Processor, WorkerEvents, WorkerJob } from './worker-types.js';

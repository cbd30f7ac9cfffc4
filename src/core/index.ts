/** The core: everything that an app needs to add and run jobs, over a `PgStore`. */

export { createJobData } from '../model/create-job-data.js';
export * from '../model/errors.js';
export type { StoreEvent, StoreEventCallback, StoreEventType } from '../model/event.js';
export { generateId, generateWorkerId } from '../model/ids.js';
export * from '../model/job.js';
export type {
  Checked,
  DataOf,
  InputOf,
  JobMap,
  JobName,
  OutputOf,
  Payload,
  ResultOf,
  ReturnOf,
} from '../model/job-types.js';
export type { Jsonify } from '../model/jsonify.js';
export { consoleLogger, type Logger, noopLogger } from '../model/logger.js';
export { parseDelay } from '../model/options/duration.js';
export { assertJobState, validateQueueName } from '../model/options/names.js';
export { hashPayload } from '../model/payload/hash.js';
export { calculateBackoff } from '../model/retry.js';
export { validateTimezone } from '../model/schedule/schedule.js';
export type { StoredSchedule } from '../model/schedule/stored-schedule.js';
export type * from '../model/store-interface.js';
export { type Closable, type CloseOnSignals, type CloseOnSignalsOptions, closeOnSignals } from './close-on-signals.js';
export { defineQueue, defineWorker, type JobsOf } from './define.js';
export { EventBus } from './event-bus.js';
export type { ChildrenOptions } from './job/children-options.js';
export { Job } from './job/job.js';
export { JobObservable, type JobObserver } from './job/job-observable.js';
export type { JobSchemas } from './job/schemas.js';
export type { CheckedJobOf, JobOf, JobsOfSchemas, SchemasFor } from './job/typed-job.js';
export { FlowProducer } from './queue/flow-producer.js';
export type { FlowJob, FlowNode } from './queue/flow-types.js';
export { Queue } from './queue/queue.js';
export type { AddedJob, BulkItems, QueueEvents, QueueOptions, TransactionalQueue } from './queue/queue-types.js';
export type { BatchResult } from './worker/batch-result.js';
export { Worker } from './worker/worker.js';
export type { WorkerOptions } from './worker/worker-options.js';
export type {
  BatchProcessor,
  CheckedBatchProcessor,
  CheckedProcessor,
  Processor,
  WorkerEvents,
} from './worker/worker-types.js';

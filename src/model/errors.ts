import type { JobState } from './job.js';

/**
 * Every error of this package. `name` is the class name, written out because bundlers rename classes; `code` is stable
 * and meant for programs.
 */
export class ConveyorError extends Error {
  override readonly name: string = 'ConveyorError';
  readonly code: string;

  constructor(message: string, options?: { code?: string; cause?: unknown }) {
    super(message, options && 'cause' in options ? { cause: options.cause } : undefined);
    this.code = options?.code ?? 'CONVEYOR_ERROR';
  }
}

/** The job that was named is not in the queue: the id is wrong, or the job was removed. */
export class JobNotFoundError extends ConveyorError {
  override readonly name: string = 'JobNotFoundError';
  readonly jobId: string;
  readonly queueName: string;

  constructor(jobId: string, queueName: string) {
    super(`Job "${jobId}" does not exist in queue "${queueName}". It may have been removed.`, {
      code: 'JOB_NOT_FOUND',
    });
    this.jobId = jobId;
    this.queueName = queueName;
  }
}

/** The operation needs the job to be in one of `expectedStates`; it is in `currentState`, and nothing was written. */
export class InvalidJobStateError extends ConveyorError {
  override readonly name: string = 'InvalidJobStateError';
  readonly jobId: string;
  readonly currentState: JobState;
  readonly expectedStates: JobState[];

  constructor(jobId: string, currentState: JobState, expectedStates: JobState | JobState[]) {
    const expected = Array.isArray(expectedStates) ? expectedStates : [expectedStates];
    super(`Invalid job state: job "${jobId}" is ${currentState}; this needs it to be ${expected.join(' or ')}.`, {
      code: 'INVALID_JOB_STATE',
    });
    this.jobId = jobId;
    this.currentState = currentState;
    this.expectedStates = expected;
  }
}

/** Metrics were read from a store that was created without `metrics: { enabled: true }`. */
export class MetricsDisabledError extends ConveyorError {
  override readonly name: string = 'MetricsDisabledError';

  constructor() {
    super('Metrics are not enabled. Create the store with metrics: { enabled: true }.', { code: 'METRICS_DISABLED' });
  }
}

/** The caller no longer holds the job: its lease ran out, or the job was returned, settled or removed. */
export class LeaseLostError extends ConveyorError {
  override readonly name: string = 'LeaseLostError';
  readonly jobId: string;
  readonly queueName: string;

  constructor(jobId: string, queueName: string) {
    super(`The lease on job "${jobId}" of queue "${queueName}" is lost; nothing was written.`, { code: 'LEASE_LOST' });
    this.jobId = jobId;
    this.queueName = queueName;
  }
}

/** A value that JSON or jsonb cannot hold, or that is too large. `path` says where, such as `data.user.name`. */
export class InvalidPayloadError extends ConveyorError {
  override readonly name: string = 'InvalidPayloadError';
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`, { code: 'INVALID_PAYLOAD' });
    this.path = path;
  }
}

/** The conveyor tables are missing, or not what this version needs. */
export class SchemaError extends ConveyorError {
  override readonly name: string = 'SchemaError';

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, { ...options, code: 'SCHEMA' });
  }
}

/** The server could not be reached, the connection was lost, or a statement ran out of time. */
export class ConnectionError extends ConveyorError {
  override readonly name: string = 'ConnectionError';

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, { ...options, code: 'CONNECTION' });
  }
}

/** The queue, worker or store was closed before this call. */
export class ClosedError extends ConveyorError {
  override readonly name: string = 'ClosedError';

  constructor(what: string, detail = '') {
    super(`${what} is closed${detail}.`, { code: 'CLOSED' });
  }
}

/** A group has as many waiting and delayed jobs as `group.maxSize` allows. */
export class GroupFullError extends ConveyorError {
  override readonly name: string = 'GroupFullError';
  readonly groupId: string;

  constructor(groupId: string, maxSize: number) {
    super(`Group "${groupId}" is full: ${maxSize} jobs are waiting or delayed (group.maxSize).`, {
      code: 'GROUP_FULL',
    });
    this.groupId = groupId;
  }
}

/** Why a job ended: thrown by `waitUntilFinished`. */
export class JobFailedError extends ConveyorError {
  override readonly name: string = 'JobFailedError';
  readonly jobId: string;

  constructor(jobId: string, reason: string) {
    super(reason, { code: 'JOB_FAILED' });
    this.jobId = jobId;
  }
}

/** `waitUntilFinished(ttl)` ran out of time; the job may still end later. */
export class WaitTimeoutError extends ConveyorError {
  override readonly name: string = 'WaitTimeoutError';

  constructor(jobId: string, ttl: number) {
    super(`Waiting for job "${jobId}" timed out after ${ttl}ms.`, { code: 'WAIT_TIMEOUT' });
  }
}

/** An attempt took longer than the job's `timeout`. */
export class JobTimeoutError extends ConveyorError {
  override readonly name: string = 'JobTimeoutError';

  constructor(id: string, ms: number) {
    super(`Job "${id}" timed out after ${ms} ms`, { code: 'JOB_TIMEOUT' });
  }
}

/** `completeIn` was called, but what it wrote is not there. */
export class NotCommittedError extends ConveyorError {
  override readonly name: string = 'NotCommittedError';

  constructor(id: string) {
    super(`Job "${id}" was settled in a transaction that did not commit.`, { code: 'NOT_COMMITTED' });
  }
}

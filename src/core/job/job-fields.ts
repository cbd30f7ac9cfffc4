import type { AttemptRecord, JobData, JobOptions, JobState } from '../../model/job.js';

/** The fields of a job, as they were last read or written through this object. */
export class JobFields<T, N extends string, R> {
  /** @internal */
  protected readonly known: JobData<T>;

  constructor(data: JobData<T>) {
    this.known = data;
  }

  get id(): string {
    return this.known.id;
  }
  get name(): N {
    return this.known.name as N;
  }
  get queueName(): string {
    return this.known.queueName;
  }
  get data(): T {
    return this.known.data;
  }
  get state(): JobState {
    return this.known.state;
  }
  get attemptsMade(): number {
    return this.known.attemptsMade;
  }
  get progress(): number {
    return this.known.progress;
  }
  /** What the handler returned, as JSON gives it back; null until the job has completed. */
  get returnvalue(): R | null {
    return this.known.returnvalue as R | null;
  }
  get failedReason(): string | null {
    return this.known.failedReason;
  }
  get opts(): JobOptions {
    return this.known.opts;
  }
  get deduplicationKey(): string | null {
    return this.known.deduplicationKey;
  }
  get logs(): string[] {
    return this.known.logs;
  }
  get stacktrace(): string[] {
    return this.known.stacktrace;
  }
  get createdAt(): Date {
    return this.known.createdAt;
  }
  get processedAt(): Date | null {
    return this.known.processedAt;
  }
  get completedAt(): Date | null {
    return this.known.completedAt;
  }
  get failedAt(): Date | null {
    return this.known.failedAt;
  }
  get delayUntil(): Date | null {
    return this.known.delayUntil;
  }
  get lockUntil(): Date | null {
    return this.known.lockUntil;
  }
  get cancelledAt(): Date | null {
    return this.known.cancelledAt;
  }
  get lockedBy(): string | null {
    return this.known.lockedBy;
  }
  get parentId(): string | null {
    return this.known.parentId;
  }
  get parentQueueName(): string | null {
    return this.known.parentQueueName;
  }
  get pendingChildrenCount(): number {
    return this.known.pendingChildrenCount;
  }
  get groupId(): string | null {
    return this.known.groupId;
  }
  get discarded(): boolean {
    return this.known.discarded;
  }
  get childrenIds(): string[] {
    return this.known.childrenIds;
  }
  get attemptLogs(): AttemptRecord[] {
    return this.known.attemptLogs;
  }

  toJSON(): JobData<T> {
    return { ...this.known };
  }
}

import type { AttemptRecord, JobData, JobOptions, JobState } from '../../model/job.js';
import { copyOf } from '../../model/payload/copy.js';
import { dataIn, type JobRecord } from '../../store/rows/new-job.js';

/** A job that is read when somebody looks at more of it than the first fields. */
export interface JobSource<T> {
  readonly id: string;
  readonly name: string;
  readonly queueName: string;
  readonly attemptsMade: number;
  /** The same object as `job.data`. */
  readonly data: T;
  /** The same object each time. */
  readonly job: JobData<T>;
}

const isSource = <T>(data: JobData<T> | JobSource<T>): data is JobSource<T> => 'job' in data;

/**
 * The fields of a job, as they were last read or written through this object. Lists, dates and objects are copies, made
 * when they are read, so that changing one changes nothing else; all but `data`, which handlers read often and which may
 * be of any class that a schema makes.
 */
export class JobFields<T, N extends string, R> {
  #known: JobData<T> | undefined;
  readonly #source: JobSource<T> | JobData<T>;
  /** The record that was added, while the data in it has not been read. */
  #record: JobRecord | undefined;

  /** @internal */
  constructor(data: JobData<T> | JobSource<T>) {
    this.#source = data;
  }

  /** @internal */
  protected get known(): JobData<T> {
    this.#known ??= isSource(this.#source) ? this.#source.job : this.#source;
    return this.#known;
  }

  /**
   * The job was added with this record: its data is what JSON gives back of it, and no longer the caller's object. It is
   * parsed when it is first read, which most callers of `add` never do.
   *
   * @internal
   */
  addedAs(record: JobRecord): this {
    const { data } = this.known;
    if (typeof data === 'object' && data !== null) this.#record = record;
    else if (data === undefined) this.known.data = null as T;
    return this;
  }

  /** @internal */
  protected get read(): JobData<T> {
    const record = this.#record;
    if (record) {
      this.#record = undefined;
      this.known.data = dataIn(record) as T;
    }
    return this.known;
  }

  get id(): string {
    return this.#source.id;
  }
  get name(): N {
    return this.#source.name as N;
  }
  get queueName(): string {
    return this.#source.queueName;
  }
  /** The payload itself, not a copy: `updateData` stores a change, toJSON() copies it. */
  get data(): T {
    return this.#record ? this.read.data : this.#source.data;
  }
  get state(): JobState {
    return this.known.state;
  }
  get attemptsMade(): number {
    return (this.#known ?? this.#source).attemptsMade;
  }
  get progress(): number {
    return this.known.progress;
  }
  /** What the handler returned, as JSON gives it back; null until the job has completed. */
  get returnvalue(): R | null {
    return copyOf(this.known.returnvalue) as R | null;
  }
  get failedReason(): string | null {
    return this.known.failedReason;
  }
  get opts(): JobOptions {
    return copyOf(this.known.opts);
  }
  get deduplicationKey(): string | null {
    return this.known.deduplicationKey;
  }
  get logs(): string[] {
    return copyOf(this.known.logs);
  }
  get stacktrace(): string[] {
    return copyOf(this.known.stacktrace);
  }
  get createdAt(): Date {
    return copyOf(this.known.createdAt);
  }
  get processedAt(): Date | null {
    return copyOf(this.known.processedAt);
  }
  get completedAt(): Date | null {
    return copyOf(this.known.completedAt);
  }
  get failedAt(): Date | null {
    return copyOf(this.known.failedAt);
  }
  get delayUntil(): Date | null {
    return copyOf(this.known.delayUntil);
  }
  get lockUntil(): Date | null {
    return copyOf(this.known.lockUntil);
  }
  get cancelledAt(): Date | null {
    return copyOf(this.known.cancelledAt);
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
    return copyOf(this.known.childrenIds);
  }
  get attemptLogs(): AttemptRecord[] {
    return copyOf(this.known.attemptLogs);
  }

  /** A deep copy of all fields. */
  toJSON(): JobData<T> {
    return copyOf(this.read);
  }
}

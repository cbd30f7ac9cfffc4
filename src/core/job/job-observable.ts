import type { StoreEvent } from '../../model/event.js';
import type { JobData } from '../../model/job.js';
import { validateName, validateQueueName } from '../../model/options/names.js';
import { copyOf } from '../../model/payload/copy.js';
import { watched } from '../../model/watched.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { JobStatus } from '../../store/read/job-status.js';
import { cancelAnyJob } from './cancel.js';
import { completionTrackerOf } from './completion-tracker.js';
import { changeOf, type JobEnd, reasonOf } from './job-end.js';
import { ObservedJob } from './observed-job.js';

/**
 * Receives what happens to a job. Each method gets a copy of the job's data first: the row as it was read when the job
 * became active or ended, so that it may be ahead of the event. Of a job that was removed before it could be read, only
 * `id`, `queueName`, `state` and how it ended are known. The methods may be async; one that throws or rejects is logged.
 *
 * `R` is the type of the job's result.
 */
export interface JobObserver<R = unknown> {
  onActive?(job: JobData): void;
  /** @param progress 0 to 100 */
  onProgress?(job: JobData, progress: number): void;
  onCompleted?(job: JobData, result: R): void;
  /** It failed for good, or was removed without a trace of how it ended. */
  onFailed?(job: JobData, reason: string): void;
  onCancelled?(job: JobData): void;
}

/** What the job had not done yet while it is active. */
const ACTIVE: Partial<JobData> = { state: 'active', returnvalue: null, completedAt: null, failedAt: null };

/** Observes one job, in this process or any other, until it has ended. */
export class JobObservable<R = unknown> {
  readonly jobId: string;
  readonly queueName: string;
  readonly #store: PgStore;
  readonly #observers = new Set<JobObserver<R>>();
  readonly #job: ObservedJob;
  /** Calls go out one after the other, because each may wait for a read of the job. */
  #calls: Promise<void> = Promise.resolve();
  #unobserve: (() => void) | undefined;
  #jobEnd: JobEnd | undefined;
  /** The job as it ended, once that is read. */
  #endedJob: JobData | undefined;
  #active = false;
  /** The attempt that was told as active last. */
  #toldAttempt = -1;
  /** For the `job:active` of a worker on 0.1.0, which does not say which attempt it is. */
  #failedAttempts = 0;
  #progress = 0;
  #endCallbacks: ((end: JobEnd) => void)[] = [];

  /** @throws TypeError or RangeError for a bad id or queue name */
  constructor(jobId: string, queueName: string, store: PgStore);
  /** @internal */
  constructor(jobId: string, queueName: string, store: PgStore, known?: JobData);
  constructor(jobId: string, queueName: string, store: PgStore, known?: JobData) {
    this.jobId = validateName(jobId, 'job id');
    this.queueName = validateQueueName(queueName);
    this.#store = store;
    this.#job = new ObservedJob(store.engine, { queueName, id: jobId }, known);
  }

  /**
   * Calls the observer back, for the end exactly once: also when the job is active, or has ended, already.
   *
   * @returns the unsubscriber
   */
  subscribe(observer: JobObserver<R>): () => void {
    this.#observers.add(observer);
    if (this.#jobEnd) this.#callEnd([observer], this.#jobEnd);
    else {
      if (this.#active) this.#call([observer], ACTIVE, true, (each, job) => each.onActive?.(job));
      if (this.#progress > 0) this.#callProgress([observer], this.#progress);
      // While there is a row to read: the job may be removed with its end.
      this.#calls = this.#calls.then(async () => void (await this.#job.with({}, false)));
      this.#start();
    }
    return () => {
      this.#observers.delete(observer);
      if (this.#observers.size === 0 && this.#endCallbacks.length === 0) this.dispose();
    };
  }

  /** As `Job.cancel`: true when the job was cancelled, or is active and was asked to stop. */
  async cancel(): Promise<boolean> {
    return cancelAnyJob(this.#store.engine, this.queueName, this.jobId);
  }

  /** Stops observing. A later `subscribe` starts again. */
  dispose(): void {
    this.#unobserve?.();
    this.#unobserve = undefined;
    this.#observers.clear();
    this.#endCallbacks = [];
    this.#active = false;
    this.#toldAttempt = -1;
    this.#failedAttempts = 0;
    this.#progress = 0;
  }

  /** Calls back once the job has ended; `dispose` withdraws the callback. @internal */
  onEnd(callback: (end: JobEnd) => void): void {
    if (this.#jobEnd) {
      callback(this.#jobEnd);
      return;
    }
    this.#endCallbacks.push(callback);
    this.#start();
  }

  #start(): void {
    this.#unobserve ??= completionTrackerOf(this.#store.engine).observe(this.queueName, this.jobId, {
      event: (event) => this.#onEvent(event),
      status: (status) => this.#onStatus(status),
      closed: () => this.#onClosed(),
    });
  }

  /** The end can no longer be learnt. Subscribing after the next `connect()` starts anew. */
  #onClosed(): void {
    this.#unobserve?.();
    this.#unobserve = undefined;
    for (const callback of this.#endCallbacks.splice(0)) callback({ kind: 'closed' });
  }

  #onEvent(event: StoreEvent): void {
    switch (event.type) {
      case 'job:waiting':
      case 'job:delayed':
        // May arrive after the `job:active` of the attempt that follows. Without the number it is about the adding.
        if (event.attemptsMade === undefined) return;
        this.#failedAttempts = event.attemptsMade;
        if (event.attemptsMade > this.#toldAttempt) this.#active = false;
        return;
      case 'job:active':
        this.#notifyActive(event.attemptsMade ?? this.#failedAttempts);
        return;
      case 'job:progress':
        this.#notifyProgress(Number(event.data));
        return;
      case 'job:completed':
        if (event.data !== undefined) this.#end({ kind: 'completed', returnvalue: event.data });
        else this.#read();
        return;
      case 'job:failed':
        if (typeof event.data !== 'string') this.#read();
        else this.#end(event.cancelled ? { kind: 'cancelled' } : { kind: 'failed', reason: event.data });
        return;
      case 'job:removed':
        this.#read();
    }
  }

  /** The event does not say how the job ended, so its row is read. */
  #read(): void {
    void completionTrackerOf(this.#store.engine)
      .read(this.queueName, this.jobId)
      .then((status) => this.#onStatus(status))
      .catch(() => {});
  }

  #onStatus({ state, returnvalue, failedReason, cancelled, progress, attemptsMade }: JobStatus): void {
    if (this.#jobEnd || !this.#unobserve) return;
    if (state === 'completed') this.#end({ kind: 'completed', returnvalue });
    else if (state === 'failed') {
      this.#end(cancelled ? { kind: 'cancelled' } : { kind: 'failed', reason: failedReason ?? '' });
    } else if (state === 'missing') this.#end({ kind: 'missing' });
    else {
      if (state === 'active') this.#notifyActive(attemptsMade);
      if (progress !== this.#progress) this.#notifyProgress(progress);
    }
  }

  #notifyActive(attempt: number): void {
    if (attempt <= this.#toldAttempt || this.#jobEnd) return;
    this.#toldAttempt = attempt;
    this.#active = true;
    this.#call([...this.#observers], ACTIVE, true, (observer, job) => observer.onActive?.(job));
  }

  #notifyProgress(progress: number): void {
    if (this.#jobEnd || !Number.isFinite(progress)) return;
    this.#progress = progress;
    this.#callProgress([...this.#observers], progress);
  }

  #callProgress(observers: readonly JobObserver[], progress: number): void {
    this.#call(observers, { progress }, false, (observer, job) => observer.onProgress?.(job, progress));
  }

  #end(end: JobEnd): void {
    if (this.#jobEnd) return;
    this.#jobEnd = end;
    this.#unobserve?.();
    this.#unobserve = undefined;
    this.#callEnd([...this.#observers], end);
    for (const callback of this.#endCallbacks.splice(0)) callback(end);
  }

  /** At once if the ended job was read before. */
  #callEnd(observers: readonly JobObserver<R>[], end: JobEnd): void {
    const key = { queueName: this.queueName, id: this.jobId };
    const call = (observer: JobObserver<R>, job: JobData) => {
      if (end.kind === 'completed') return observer.onCompleted?.(job, end.returnvalue as R);
      if (end.kind === 'cancelled') return observer.onCancelled?.(job);
      return observer.onFailed?.(job, reasonOf(end, key));
    };
    if (this.#endedJob) this.#callAll(observers, this.#endedJob, call);
    else if (observers.length > 0) {
      this.#calls = this.#calls.then(async () => {
        this.#endedJob ??= await this.#job.with(changeOf(end, key), true);
        this.#callAll(observers, this.#endedJob, call);
      });
    }
  }

  /** Calls those of the observers that are subscribed by then. */
  #call(
    observers: readonly JobObserver<R>[],
    change: Partial<JobData>,
    reread: boolean,
    call: (observer: JobObserver<R>, job: JobData) => unknown,
  ): void {
    if (observers.length === 0) return;
    this.#calls = this.#calls.then(async () => {
      this.#callAll(observers, await this.#job.with(change, reread), call);
    });
  }

  #callAll(
    observers: readonly JobObserver[],
    job: JobData,
    call: (observer: JobObserver, job: JobData) => unknown,
  ): void {
    const { logger } = this.#store.engine.options;
    for (const observer of observers) {
      if (!this.#observers.has(observer)) continue;
      watched(
        () => call(observer, copyOf(job)),
        (error) => logger.error('conveyor: an observer threw', error),
      );
    }
  }
}

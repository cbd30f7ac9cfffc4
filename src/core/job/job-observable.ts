import { JobFailedError, JobNotFoundError } from '../../model/errors.js';
import type { StoreEvent } from '../../model/event.js';
import { validateName, validateQueueName } from '../../model/options/names.js';
import { watched } from '../../model/watched.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { JobStatus } from '../../store/read/job-status.js';
import { cancelAnyJob } from './cancel.js';
import { completionTrackerOf } from './completion-tracker.js';

/** `R` is the type of the job's result. */
export interface JobObserver<R = unknown> {
  onActive?(): void;
  /** @param progress 0 to 100 */
  onProgress?(progress: number): void;
  onCompleted?(result: R): void;
  onFailed?(error: Error): void;
  onCancelled?(): void;
}

/** How a job ended, as its observers see it. */
export type JobEnd =
  | { readonly kind: 'completed'; readonly returnvalue: unknown }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'cancelled' }
  /** The job was removed, and no event reported how it had ended. */
  | { readonly kind: 'missing' }
  /** The store was disconnected. */
  | { readonly kind: 'closed' };

/** What events about a job can carry. */
interface EventData {
  readonly returnvalue?: unknown;
  readonly failedReason?: string;
  readonly progress?: number;
  readonly cancelled?: boolean;
  /** The result was too large for a notification. */
  readonly partial?: boolean;
  /** Only of an attempt that failed and is followed by another. */
  readonly attemptsMade?: number;
}

/** Observes one job, in this process or any other, until it has ended. */
export class JobObservable<R = unknown> {
  readonly jobId: string;
  readonly queueName: string;
  readonly #store: PgStore;
  readonly #observers = new Set<JobObserver<R>>();
  #unobserve: (() => void) | undefined;
  #jobEnd: JobEnd | undefined;
  #active = false;
  #progress = 0;
  #endCallbacks: ((end: JobEnd) => void)[] = [];

  /** @throws TypeError or RangeError for a bad id or queue name */
  constructor(jobId: string, queueName: string, store: PgStore) {
    this.jobId = validateName(jobId, 'job id');
    this.queueName = validateQueueName(queueName);
    this.#store = store;
  }

  /**
   * Calls the observer back, for the end exactly once: at once when the job has ended already.
   *
   * @returns the unsubscriber
   */
  subscribe(observer: JobObserver<R>): () => void {
    this.#observers.add(observer);
    if (this.#jobEnd) this.#notifyEnd(observer, this.#jobEnd);
    else this.#start();
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
    const data = (event.data ?? {}) as EventData;
    // `job:waiting` and `job:delayed` without it are about the adding, and may arrive after `job:active`.
    if (data.attemptsMade !== undefined) this.#active = false;
    else if (event.type === 'job:active') this.#notifyActive();
    else if (event.type === 'job:progress') this.#notifyProgress(Number(data.progress));
    else if (event.type === 'job:completed' && data.partial !== true && 'returnvalue' in data) {
      this.#end({ kind: 'completed', returnvalue: data.returnvalue });
    } else if (event.type === 'job:failed' && typeof data.failedReason === 'string') {
      this.#end(data.cancelled ? { kind: 'cancelled' } : { kind: 'failed', reason: data.failedReason });
    } else if (event.type === 'job:completed' || event.type === 'job:failed' || event.type === 'job:removed') {
      // The event does not say how the job ended, so its row is read.
      void completionTrackerOf(this.#store.engine)
        .read(this.queueName, this.jobId)
        .then((status) => this.#onStatus(status))
        .catch(() => {});
    }
  }

  #onStatus({ state, returnvalue, failedReason, cancelled, progress }: JobStatus): void {
    if (this.#jobEnd || !this.#unobserve) return;
    if (state === 'completed') this.#end({ kind: 'completed', returnvalue });
    else if (state === 'failed') {
      this.#end(cancelled ? { kind: 'cancelled' } : { kind: 'failed', reason: failedReason ?? '' });
    } else if (state === 'missing') this.#end({ kind: 'missing' });
    else {
      if (state === 'active') this.#notifyActive();
      if (progress !== this.#progress) this.#notifyProgress(progress);
    }
  }

  #notifyActive(): void {
    if (this.#active || this.#jobEnd) return;
    this.#active = true;
    for (const observer of [...this.#observers]) this.#safely(() => observer.onActive?.());
  }

  #notifyProgress(progress: number): void {
    if (this.#jobEnd || !Number.isFinite(progress)) return;
    this.#progress = progress;
    for (const observer of [...this.#observers]) this.#safely(() => observer.onProgress?.(progress));
  }

  #end(end: JobEnd): void {
    if (this.#jobEnd) return;
    this.#jobEnd = end;
    this.#unobserve?.();
    this.#unobserve = undefined;
    for (const observer of [...this.#observers]) this.#notifyEnd(observer, end);
    for (const callback of this.#endCallbacks.splice(0)) callback(end);
  }

  #notifyEnd(observer: JobObserver<R>, end: JobEnd): void {
    this.#safely(() => {
      if (end.kind === 'completed') return observer.onCompleted?.(end.returnvalue as R);
      if (end.kind === 'cancelled') return observer.onCancelled?.();
      if (end.kind === 'failed') return observer.onFailed?.(new JobFailedError(this.jobId, end.reason));
      return observer.onFailed?.(new JobNotFoundError(this.jobId, this.queueName));
    });
  }

  #safely(call: () => unknown): void {
    const { logger } = this.#store.engine.options;
    watched(call, (error) => logger.error('conveyor: an observer threw', error));
  }
}

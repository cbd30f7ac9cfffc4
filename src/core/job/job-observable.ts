import { JobFailedError, JobNotFoundError } from '../../model/errors.js';
import type { StoreEvent } from '../../model/event.js';
import { validateName, validateQueueName } from '../../model/options/names.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { cancelAnywhere } from './cancel.js';
import { type JobStatus, outcomesOf } from './completion-tracker.js';

export interface JobObserver {
  onActive?(): void;
  onProgress?(progress: number): void;
  onCompleted?(result: unknown): void;
  onFailed?(error: Error): void;
  onCancelled?(): void;
}

/** How a job ended. */
export type Ending =
  | { readonly kind: 'completed'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'cancelled' }
  /** The row is gone: it was removed, and how it ended was not heard. */
  | { readonly kind: 'missing' }
  /** The store was disconnected. */
  | { readonly kind: 'closed' };

/** Follows one job, in this process or any other, until it has ended. */
export class JobObservable {
  readonly jobId: string;
  readonly queueName: string;
  readonly #store: PgStore;
  readonly #observers = new Set<JobObserver>();
  #stop: (() => void) | undefined;
  #ending: Ending | undefined;
  #active = false;
  #progress = 0;
  #endCallbacks: ((ending: Ending) => void)[] = [];

  constructor(jobId: string, queueName: string, store: PgStore) {
    this.jobId = validateName(jobId, 'job id');
    this.queueName = validateQueueName(queueName);
    this.#store = store;
  }

  /** A job that has ended already tells so at once. Each observer hears the end once. Returns the way out. */
  subscribe(observer: JobObserver): () => void {
    this.#observers.add(observer);
    if (this.#ending) this.#tellEnd(observer, this.#ending);
    else this.#start();
    return () => {
      this.#observers.delete(observer);
      if (this.#observers.size === 0 && this.#endCallbacks.length === 0) this.dispose();
    };
  }

  /** As `Job.cancel`: true when the job was stopped, or told to stop. */
  async cancel(): Promise<boolean> {
    return cancelAnywhere(this.#store.engine, this.queueName, this.jobId);
  }

  /** Stops following. A later `subscribe` starts again. */
  dispose(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#observers.clear();
    this.#endCallbacks = [];
  }

  /** Calls back once the job has ended; `dispose` ends the wait. @internal */
  onEnd(callback: (ending: Ending) => void): void {
    if (this.#ending) {
      callback(this.#ending);
      return;
    }
    this.#endCallbacks.push(callback);
    this.#start();
  }

  #start(): void {
    this.#stop ??= outcomesOf(this.#store.engine).observe(this.queueName, this.jobId, {
      event: (event) => this.#heard(event),
      standing: (standing) => this.#read(standing),
      closed: () => this.#closed(),
    });
  }

  /** Nobody can know the end any more. Whoever subscribes after the next `connect()` starts anew. */
  #closed(): void {
    this.#stop?.();
    this.#stop = undefined;
    for (const callback of this.#endCallbacks.splice(0)) callback({ kind: 'closed' });
  }

  #heard(event: StoreEvent): void {
    const data = (event.data ?? {}) as {
      returnvalue?: unknown;
      failedReason?: string;
      progress?: number;
      cancelled?: boolean;
      partial?: boolean;
      attemptsMade?: number;
    };
    // Said with the attempts made, it is about a retry; the news of the job's adding may come after that of its start.
    if (data.attemptsMade !== undefined) this.#active = false;
    else if (event.type === 'job:active') this.#tellActive();
    else if (event.type === 'job:progress') this.#tellProgress(Number(data.progress));
    else if (event.type === 'job:completed' && data.partial !== true && 'returnvalue' in data) {
      this.#end({ kind: 'completed', result: data.returnvalue });
    } else if (event.type === 'job:failed' && typeof data.failedReason === 'string') {
      this.#end(data.cancelled ? { kind: 'cancelled' } : { kind: 'failed', reason: data.failedReason });
    } else if (event.type === 'job:completed' || event.type === 'job:failed' || event.type === 'job:removed') {
      // Said by somebody who did not say how: read it.
      void outcomesOf(this.#store.engine)
        .read(this.queueName, this.jobId)
        .then((standing) => this.#read(standing))
        .catch(() => {});
    }
  }

  #read(standing: JobStatus): void {
    if (this.#ending || !this.#stop) return;
    const { state, result, reason, cancelled, progress } = standing;
    if (state === 'completed') this.#end({ kind: 'completed', result });
    else if (state === 'failed')
      this.#end(cancelled ? { kind: 'cancelled' } : { kind: 'failed', reason: reason ?? '' });
    else if (state === 'missing') this.#end({ kind: 'missing' });
    else {
      if (state === 'active') this.#tellActive();
      if (progress !== this.#progress) this.#tellProgress(progress);
    }
  }

  #tellActive(): void {
    if (this.#active || this.#ending) return;
    this.#active = true;
    for (const observer of [...this.#observers]) this.#safely(() => observer.onActive?.());
  }

  #tellProgress(progress: number): void {
    if (this.#ending || !Number.isFinite(progress)) return;
    this.#progress = progress;
    for (const observer of [...this.#observers]) this.#safely(() => observer.onProgress?.(progress));
  }

  #end(ending: Ending): void {
    if (this.#ending) return;
    this.#ending = ending;
    this.#stop?.();
    this.#stop = undefined;
    for (const observer of [...this.#observers]) this.#tellEnd(observer, ending);
    for (const callback of this.#endCallbacks.splice(0)) callback(ending);
  }

  #tellEnd(observer: JobObserver, ending: Ending): void {
    this.#safely(() => {
      if (ending.kind === 'completed') observer.onCompleted?.(ending.result);
      else if (ending.kind === 'cancelled') observer.onCancelled?.();
      else if (ending.kind === 'failed') observer.onFailed?.(new JobFailedError(this.jobId, ending.reason));
      else observer.onFailed?.(new JobNotFoundError(this.jobId, this.queueName));
    });
  }

  #safely(call: () => unknown): void {
    const failed = (error: unknown) => this.#store.engine.options.logger.error('conveyor: an observer threw', error);
    try {
      const result = call();
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

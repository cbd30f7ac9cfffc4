import type { StoreEvent } from '../../model/event.js';
import type { Logger } from '../../model/logger.js';
import { type JobKey, type JobStatus, readJobStatus } from '../../store/read/job-status.js';
import { Batcher } from '../../store/runtime/batcher.js';
import type { Engine } from '../../store/runtime/engine.js';
import { RecentEnds } from './recent-ends.js';

/** Receives each event of one job, and its status whenever it was read. */
export interface CompletionObserver {
  event(event: StoreEvent): void;
  status(status: JobStatus): void;
  /** The store was disconnected. */
  closed(): void;
}

export interface CompletionSources {
  /** In the order of the keys. */
  read(keys: readonly JobKey[]): Promise<JobStatus[]>;
  /** Subscribes to a queue's events; returns the unsubscriber. */
  subscribe(queueName: string, callback: (event: StoreEvent) => void): () => void;
  readonly logger: Logger;
}

/** Notifications can be lost, so all awaited jobs are read again this often, in one statement. */
const REREAD_MS = 1_000;
/** The subscription to a queue outlives its last observer: often the next job is awaited right away. */
const LINGER_MS = 10_000;
/** The event of a job that was removed with its end may arrive this much after the row is gone. */
const LATE_EVENT_MS = 250;
/** Jobs of one read. */
const MAX_READ = 1_000;

interface TrackedJob {
  readonly key: JobKey;
  readonly observers: Set<CompletionObserver>;
  reading: boolean;
  /** How many events have arrived. */
  events: number;
  /** `performance.now()` when its row was first found to be missing. */
  missingSince: number | undefined;
}

interface Subscription {
  observers: number;
  unsubscribe(): void;
  lingering: NodeJS.Timeout | undefined;
}

const hasEnded = ({ state }: JobStatus): boolean => state === 'completed' || state === 'failed' || state === 'missing';

const mapKey = ({ queueName, id }: JobKey) => `${queueName}\n${id}`;

/**
 * Tracks jobs until they have ended, for all observers of a process: by events, and by reading the tables after LISTEN
 * was interrupted and once a second.
 */
export class CompletionTracker {
  readonly #sources: CompletionSources;
  readonly #jobs = new Map<string, TrackedJob>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #recentEnds = new RecentEnds();
  readonly #reads: Batcher<JobKey, JobStatus>;
  #timer: NodeJS.Timeout | undefined;

  constructor(sources: CompletionSources) {
    this.#sources = sources;
    this.#reads = new Batcher((keys) => sources.read(keys), { maxItems: MAX_READ, maxSize: MAX_READ, parallel: 1 });
  }

  /** The job's status now. */
  read(queueName: string, id: string): Promise<JobStatus> {
    return this.#reads.push({ queueName, id });
  }

  /** Observes until the returned function is called. */
  observe(queueName: string, id: string, observer: CompletionObserver): () => void {
    const key = { queueName, id };
    const k = mapKey(key);
    const job = this.#jobs.get(k) ?? { key, observers: new Set(), reading: false, events: 0, missingSince: undefined };
    this.#jobs.set(k, job);
    job.observers.add(observer);
    this.#subscribe(queueName);
    this.#reread(job);
    // Not unref'd: a process that awaits a job must not exit meanwhile, even while the database is unreachable.
    this.#timer ??= setInterval(() => this.rereadAll(), REREAD_MS);
    let active = true;
    return () => {
      if (!active) return;
      active = false;
      job.observers.delete(observer);
      if (job.observers.size === 0 && this.#jobs.get(k) === job) this.#jobs.delete(k);
      if (this.#jobs.size === 0) this.#stopTimer();
      this.#unsubscribe(queueName);
    };
  }

  /** Reads all tracked jobs: events may have been lost. */
  rereadAll(): void {
    for (const job of this.#jobs.values()) this.#reread(job);
  }

  /** The store is disconnected: notifies and drops every observer. */
  close(): void {
    this.#stopTimer();
    for (const { unsubscribe, lingering } of this.#subscriptions.values()) {
      clearTimeout(lingering);
      unsubscribe();
    }
    this.#subscriptions.clear();
    this.#recentEnds.clear();
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const { observers } of jobs) for (const observer of [...observers]) observer.closed();
  }

  #subscribe(queueName: string): void {
    const subscription = this.#subscriptions.get(queueName);
    if (subscription) {
      subscription.observers++;
      clearTimeout(subscription.lingering);
      return;
    }
    const unsubscribe = this.#sources.subscribe(queueName, (event) => {
      if (event.jobId === undefined) return;
      const k = mapKey({ queueName, id: event.jobId });
      this.#recentEnds.note(k, event);
      const job = this.#jobs.get(k);
      if (!job) return;
      job.events++;
      for (const observer of [...job.observers]) observer.event(event);
    });
    this.#subscriptions.set(queueName, { observers: 1, unsubscribe, lingering: undefined });
  }

  #unsubscribe(queueName: string): void {
    const subscription = this.#subscriptions.get(queueName);
    if (!subscription || --subscription.observers > 0) return;
    subscription.lingering = setTimeout(() => {
      subscription.unsubscribe();
      this.#subscriptions.delete(queueName);
    }, LINGER_MS);
    subscription.lingering.unref();
  }

  #reread(job: TrackedJob): void {
    // One read of a job at a time: while the database is unreachable they must not pile up.
    if (job.reading || job.observers.size === 0) return;
    job.reading = true;
    const eventsBefore = job.events;
    this.#reads
      .push(job.key)
      .then(
        (status) => {
          // It may be older than the event that came meanwhile, and then would take back what that one told.
          if (job.events > eventsBefore && !hasEnded(status)) setTimeout(() => this.#reread(job), LATE_EVENT_MS);
          else this.#deliver(job, status);
        },
        // Read again at the next tick of the timer.
        (error) => this.#sources.logger.debug('conveyor: could not read the status of an awaited job', error),
      )
      .finally(() => {
        job.reading = false;
      });
  }

  #deliver(job: TrackedJob, status: JobStatus): void {
    const end = status.state === 'missing' ? this.#recentEnds.get(mapKey(job.key)) : undefined;
    if (status.state === 'missing' && !end) {
      job.missingSince ??= performance.now();
      if (performance.now() < job.missingSince + LATE_EVENT_MS) {
        setTimeout(() => this.#reread(job), LATE_EVENT_MS);
        return;
      }
    }
    for (const observer of [...job.observers]) {
      if (end) observer.event(end);
      else observer.status(status);
    }
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

const trackers = new WeakMap<Engine, CompletionTracker>();

/** The store's tracker: there is one, which lives as long as the store. */
export function completionTrackerOf(engine: Engine): CompletionTracker {
  let tracker = trackers.get(engine);
  if (!tracker) {
    const created = new CompletionTracker({
      read: (keys) => readJobStatus(engine.executor, keys),
      subscribe: (queueName, callback) => engine.notifier.on(queueName, callback),
      logger: engine.options.logger,
    });
    engine.onReconnect(() => created.rereadAll());
    engine.onClose(() => created.close());
    trackers.set(engine, created);
    tracker = created;
  }
  return tracker;
}

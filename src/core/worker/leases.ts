import { withDeadline } from '../../db/deadline.js';
import { ConnectionError } from '../../model/errors.js';
import type { Logger } from '../../model/logger.js';
import { errorText } from '../../model/payload/error-text.js';
import type { Renewal, Renewed } from '../../store/lease/renew.js';
import type { LeasedJob } from './leased-job.js';

export interface LeasesOptions {
  readonly workerId: string;
  /** ms. */
  readonly lockDuration: number;
  readonly logger: Logger;
  /** Extends leases by `lockDuration`, and records starts; resolves to the leases that are still held. */
  renew(leases: readonly Renewal[], lockDuration: number): Promise<Renewed[]>;
  /** The job is not active under its lease any more. */
  lost(job: LeasedJob): void;
  cancelled(job: LeasedJob): void;
}

/** Its handler has started, and the database does not know. */
export const startsUnrecorded = ({ startedAlone, startRecorded }: LeasedJob): boolean =>
  startedAlone !== undefined && !startRecorded;

/** A lease is renewed this often in its duration, so that two renewals may fail. */
const RENEWALS = 3;

/**
 * Renews the leases of all jobs that a worker has, in one statement, and has the database know which of them have
 * started: only those count as stalled when the worker is lost.
 */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #period: number;
  readonly #jobs = new Map<string, LeasedJob>();
  #unchecked = new Set<LeasedJob>();
  #checking = new Set<LeasedJob>();
  #checked: Promise<void> = Promise.resolve();
  #nextCheck: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#period = Math.max(1, options.lockDuration / RENEWALS);
  }

  add(job: LeasedJob): void {
    const { id } = job.stored;
    const older = this.#jobs.get(id);
    this.#jobs.set(id, job);
    // Claimed twice by this worker: the job had been returned to waiting meanwhile.
    if (older && !older.attempt.ended) this.#options.lost(older);
    if (this.#timer) return;
    this.#timer = setInterval(() => void this.#renew(this.all()), this.#period);
    this.#timer.unref();
  }

  delete(job: LeasedJob): void {
    const { id } = job.stored;
    // By now this worker may have claimed the same job again, under a newer lease.
    if (this.#jobs.get(id) === job) this.#jobs.delete(id);
    if (this.#jobs.size === 0) this.#stop();
  }

  all(): LeasedJob[] {
    return [...this.#jobs.values()];
  }

  clear(): void {
    this.#jobs.clear();
    this.#stop();
  }

  /**
   * An event says that the job was cancelled, or has changed hands. The event may be older than the lease, so the
   * database is asked.
   */
  check(id: string): void {
    const job = this.#jobs.get(id);
    if (job && !job.attempt.ended) void this.#check(job);
  }

  /** Records that the job's handler starts; resolves when that is written, or could not be (`startRecorded`). */
  async recordStart(job: LeasedJob): Promise<void> {
    await this.#check(job);
  }

  /** The job is about to be checked, or the answer has not come yet. */
  isUncertain(job: LeasedJob): boolean {
    return this.#unchecked.has(job) || this.#checking.has(job);
  }

  /** With all others that are to be checked, in the statement after the one that is under way. */
  #check(job: LeasedJob): Promise<void> {
    this.#unchecked.add(job);
    this.#nextCheck ??= this.#checked.then(async () => {
      this.#checking = this.#unchecked;
      this.#unchecked = new Set();
      this.#nextCheck = undefined;
      this.#checked = this.#renew([...this.#checking], true).then(() => {
        this.#checking = new Set();
      });
      await this.#checked;
    });
    return this.#nextCheck;
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Never rejects. */
  async #renew(jobs: readonly LeasedJob[], recordStarts = false): Promise<void> {
    const sentAt = performance.now();
    const started = new Set(recordStarts ? jobs.filter(startsUnrecorded) : []);
    try {
      const renewed = new Map((await this.#renewInTime(jobs, started)).map((r) => [`${r.id} ${r.lease}`, r]));
      for (const job of jobs) {
        const answer = renewed.get(`${job.stored.id} ${job.stored.lease}`);
        if (answer) {
          job.attempt.place = undefined;
          if (started.has(job)) job.startRecorded = answer.written;
          else job.confirmedAt = Math.max(job.confirmedAt, sentAt);
          if (answer.cancelled) this.#options.cancelled(job);
        } else if (!job.attempt.ended) {
          this.#options.lost(job);
        }
      }
    } catch (error) {
      // The next renewal may succeed; the lease outlasts two that fail.
      this.#options.logger.warn(`conveyor: could not renew ${jobs.length} lease(s): ${errorText(error).message}`);
      this.#dropExpired();
    }
  }

  /** Fails after one period without an answer: a renewal that hangs must not delay the next. */
  #renewInTime(jobs: readonly LeasedJob[], started: ReadonlySet<LeasedJob>): Promise<Renewed[]> {
    const { workerId, lockDuration, renew } = this.#options;
    const leases = jobs.map((leased) => {
      const { queueName, id, lease } = leased.stored;
      const startedAlone = started.has(leased) ? leased.startedAlone : undefined;
      return { queueName, id, lease, workerId, startedAlone };
    });
    const period = this.#period;
    return withDeadline(
      renew(leases, lockDuration),
      period,
      () => new ConnectionError(`no answer within ${Math.round(period)} ms`),
    );
  }

  /**
   * Treats leases as lost that the database has not confirmed for their whole duration: another worker may have the
   * job. Called only after a renewal failed, so that blocking the event loop alone does not lose a lease.
   */
  #dropExpired(): void {
    const limit = performance.now() - this.#options.lockDuration;
    for (const job of this.all()) {
      if (job.confirmedAt < limit && !job.attempt.ended) this.#options.lost(job);
    }
  }
}

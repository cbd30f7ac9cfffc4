import type { DrizzleLike } from '../../db/drizzle-like.js';
import { ConveyorError, JobNotFoundError, LeaseLostError } from '../../model/errors.js';
import type { Duration, JobData, JobState } from '../../model/job.js';
import { parseDelay } from '../../model/options/duration.js';
import { integerIn } from '../../model/options/names.js';
import { encodePayload, errorText } from '../../model/payload/values.js';
import { cap } from '../../model/text.js';
import { getChildrenJobs } from '../../store/add/insert-flow.js';
import * as verbs from '../../store/change/job-verbs.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { announceParents } from '../../store/events/announce.js';
import { getJob, setProgress } from '../../store/read/find.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { AttemptEnd } from '../worker/settlement.js';
import type { Attempt, Verdict } from './attempt.js';
import { cancelAnywhere } from './cancel.js';
import { assertDone, keepNewest, timeToRun } from './job-access.js';
import { JobFields } from './job-fields.js';
import { JobObservable } from './job-observable.js';
import { appendLine } from './log-appender.js';
import { waitUntilFinished } from './wait-until-finished.js';

const MAX_LINE_LENGTH = 8_192;
const MAX_INT = 2_147_483_647;
const UNFINISHED: JobState[] = ['waiting', 'waiting-children', 'delayed', 'active'];

/**
 * A job: what a handler receives, and what `add`, `getJob` and flows return. Its fields are what was last read or
 * written through this object; `Queue.getJob` reads anew.
 *
 * A method rejects with `JobNotFoundError` when the job is gone, `InvalidJobStateError` when it is in the wrong state,
 * and inside a handler with `LeaseLostError` when the worker no longer holds the job: then nothing was written.
 */
export class Job<T = unknown, N extends string = string> extends JobFields<T, N> {
  readonly #store: PgStore;
  /** @internal */
  readonly attempt: Attempt | undefined;

  constructor(data: JobData<T>, store: PgStore);
  /** @internal */
  constructor(data: JobData<T>, store: PgStore, attempt?: Attempt);
  constructor(data: JobData<T>, store: PgStore, attempt?: Attempt) {
    super(data);
    this.#store = store;
    this.attempt = attempt;
  }

  /** In a handler: aborts on cancellation, timeout, loss of the lease and forced close. */
  get signal(): AbortSignal | undefined {
    return this.attempt?.controller.signal;
  }

  get #engine(): Engine {
    return this.#store.engine;
  }

  /** @param progress 0 to 100, fractions allowed; else `RangeError`. */
  async updateProgress(progress: number): Promise<void> {
    if (typeof progress !== 'number' || !(progress >= 0 && progress <= 100)) {
      throw new RangeError(`updateProgress(${String(progress)}): progress must be a number from 0 to 100.`);
    }
    this.#assertHeld();
    const { id, queueName } = this;
    const done = await setProgress(this.#engine.executor, queueName, id, progress, this.#fence);
    if (!done) throw this.#gone();
    this.known.progress = progress;
    this.#engine.notifier.publish('job:progress', queueName, id, { progress });
  }

  /** Appends a line (at most 8,192 characters of it). A job keeps its newest 1,000 lines. */
  async log(line: string): Promise<void> {
    this.#assertHeld();
    const text = cap(errorText(line).message, MAX_LINE_LENGTH);
    if (this.attempt) keepNewest(this.attempt.logs, text);
    await appendLine(this.#engine, this.queueName, this.id, text, this.#fence);
    keepNewest(this.known.logs, text);
  }

  /** Empties the log, or keeps its newest lines. */
  async clearLogs(keep = 0): Promise<void> {
    integerIn(keep, 'clearLogs keep', 0, MAX_INT);
    this.#assertHeld();
    const answer = await verbs.clearLogs(this.#engine.executor, this.queueName, this.id, keep, this.#fence);
    assertDone(answer, this, [], this.attempt);
    this.known.logs = keep > 0 ? this.known.logs.slice(-keep) : [];
  }

  /** Replaces the payload of a job that has not ended. */
  async updateData(data: T): Promise<void> {
    const text = encodePayload(data, { path: 'data', maxBytes: this.#engine.options.maxPayloadBytes });
    this.#assertHeld();
    const answer = await verbs.updateData(this.#engine.executor, this.queueName, this.id, text, this.#fence);
    assertDone(answer, this, UNFINISHED, this.attempt);
    this.known.data = data;
  }

  /** A delayed job can run now. */
  async promote(): Promise<void> {
    assertDone(await verbs.promoteOne(this.#engine.executor, this.queueName, this.id), this, 'delayed');
    this.known.state = 'waiting';
    this.known.delayUntil = null;
    this.#becameWaiting();
  }

  /** A delayed job runs in `delay` (ms, or a duration) from now. */
  async changeDelay(delay: Duration): Promise<void> {
    const ms = parseDelay(delay, 'changeDelay');
    assertDone(await verbs.changeDelay(this.#engine.executor, this.queueName, this.id, ms), this, 'delayed');
    this.known.delayUntil = new Date(Date.now() + ms);
    this.#engine.notifier.wake(this.queueName, ms);
  }

  /** @param priority a 32-bit integer; lower goes first. */
  async changePriority(priority: number): Promise<void> {
    integerIn(priority, 'priority', -MAX_INT - 1, MAX_INT);
    assertDone(await verbs.changePriority(this.#engine.executor, this.queueName, this.id, priority), this, UNFINISHED);
    this.known.opts = { ...this.known.opts, priority };
  }

  /**
   * Puts the job off until `timestamp` (epoch ms, or a Date). In a handler it takes effect when the handler ends,
   * whatever that returns, and does not count as an attempt.
   */
  async moveToDelayed(timestamp: number | Date): Promise<void> {
    const until = timeToRun(timestamp);
    if (this.#decides({ kind: 'delayed', until })) return;
    const answer = await verbs.delayOne(this.#engine.executor, this.queueName, this.id, until, null);
    assertDone(answer, this, ['waiting', 'delayed']);
    this.known.state = 'delayed';
    this.known.delayUntil = new Date(until);
    this.#engine.notifier.publish('job:delayed', this.queueName, this.id);
    this.#engine.notifier.wake(this.queueName, until - Date.now());
  }

  /** Fails the job for good. In a handler it takes effect when the handler ends, whatever that returns. */
  async moveToFailed(error: unknown): Promise<void> {
    if (this.#decides({ kind: 'failed', error })) return;
    const { message, stack } = errorText(error);
    const answer = await verbs.failOne(
      this.#engine.executor,
      this.queueName,
      this.id,
      message,
      stack,
      null,
      this.#engine.options.metrics.enabled ? this.#engine.shard : null,
    );
    assertDone(answer, this, UNFINISHED);
    this.known.state = 'failed';
    this.known.failedReason = message;
    this.#engine.notifier.publish('job:failed', this.queueName, this.id, { failedReason: message });
    announceParents(this.#engine.notifier, answer.parents);
  }

  /**
   * In a handler: completes the job inside a transaction of the app's Drizzle client. The result commits with the
   * handler's own writes, or not at all; what the handler returns afterwards is ignored. When the transaction does not
   * commit, the attempt has failed.
   *
   * @throws LeaseLostError when the worker no longer holds the job: let it roll the transaction back.
   */
  async completeIn(transaction: DrizzleLike, result?: unknown): Promise<void> {
    await this.#settleIn(transaction, { kind: 'completed', value: result });
  }

  /** Likewise fails the attempt; what is left of the job's attempts follows as usual. */
  async failIn(transaction: DrizzleLike, error: unknown): Promise<void> {
    await this.#settleIn(transaction, { kind: 'failed', error });
  }

  /** A failed job starts over, with all its attempts; `InvalidJobStateError` in any other state. */
  async retry(): Promise<void> {
    const answer = await verbs.retryOne(this.#engine.executor, this.queueName, this.id);
    assertDone(answer, this, 'failed');
    Object.assign(this.known, {
      ...{ state: answer.became, attemptsMade: 0, progress: 0, returnvalue: null, stacktrace: [], discarded: false },
      ...{ failedReason: null, failedAt: null, completedAt: null, processedAt: null, cancelledAt: null },
    });
    if (answer.became === 'waiting') this.#becameWaiting();
  }

  /** No more retries: if the current attempt fails, the job has failed. */
  async discard(): Promise<void> {
    this.#assertHeld();
    if (this.attempt) this.attempt.discarded = true;
    const answer = await verbs.discardOne(this.#engine.executor, this.queueName, this.id, this.#fence);
    assertDone(answer, this, UNFINISHED, this.attempt);
    this.known.discarded = true;
  }

  /**
   * Deletes the job, whatever its state; a job that does not exist is fine. A parent that waits for it is told. In its
   * own handler it is the job's last word: what the handler returns has nowhere to go.
   */
  async remove(): Promise<void> {
    this.#assertHeld();
    const fence = this.#fence;
    const answer = await verbs.removeOne(this.#engine.executor, this.queueName, this.id, fence);
    if (!answer.done && fence) throw new LeaseLostError(this.id, this.queueName);
    // Its worker is not to take this for a lease that somebody else has taken.
    if (this.attempt) this.attempt.lost = true;
    if (answer.done) this.#engine.notifier.publish('job:removed', this.queueName, this.id);
    announceParents(this.#engine.notifier, answer.parents);
  }

  /** Waiting: fails as cancelled at once. Active: its signal aborts. True when either happened. */
  async cancel(): Promise<boolean> {
    return cancelAnywhere(this.#engine, this.queueName, this.id);
  }

  async isCompleted(): Promise<boolean> {
    return (await this.#read()).state === 'completed';
  }
  async isFailed(): Promise<boolean> {
    return (await this.#read()).state === 'failed';
  }
  async isActive(): Promise<boolean> {
    return (await this.#read()).state === 'active';
  }

  /** The job this one is a child of; null when there is none, or it was removed. */
  async getParent(): Promise<Job | null> {
    const { parentId, parentQueueName } = this;
    if (parentId === null || parentQueueName === null) return null;
    const parent = await getJob(this.#engine.executor, parentQueueName, parentId);
    return parent && new Job(parent.job, this.#store);
  }

  /** The job's children, of any queue and in any state, oldest first. */
  async getDependencies(): Promise<Job[]> {
    const children = await getChildrenJobs(this.#engine.executor, this.queueName, this.id);
    return children.map((child) => new Job(child, this.#store));
  }

  /** Results of the completed children by their ids, also of those that were removed on completion. */
  async getChildrenValues(): Promise<Record<string, unknown>> {
    const [self, children] = await Promise.all([
      getJob(this.#engine.executor, this.queueName, this.id),
      getChildrenJobs(this.#engine.executor, this.queueName, this.id),
    ]);
    const completed = children.filter(({ state }) => state === 'completed');
    return { ...self?.childrenValues, ...Object.fromEntries(completed.map((child) => [child.id, child.returnvalue])) };
  }

  observe(): JobObservable {
    return new JobObservable(this.id, this.queueName, this.#store);
  }

  /**
   * Resolves with the result once the job has completed, in whichever process.
   *
   * @param ttl longest wait in ms, or a duration. Default: none.
   * @throws JobFailedError when it failed or was cancelled; WaitTimeoutError; JobNotFoundError when it was removed
   * before its end was known. A job that was to be removed on completion and is gone has completed: undefined.
   */
  async waitUntilFinished(ttl?: Duration): Promise<unknown> {
    return waitUntilFinished(this, this.#engine, ttl);
  }

  async #settleIn(transaction: DrizzleLike, end: AttemptEnd): Promise<void> {
    this.#assertHeld();
    const settleIn = this.attempt?.settleInTransaction;
    if (!settleIn || this.attempt?.ended) {
      throw new ConveyorError('completeIn() and failIn() work only on the job of a running handler.', {
        code: 'NOT_IN_HANDLER',
      });
    }
    await settleIn(transaction, end);
  }

  get #fence() {
    return this.attempt?.lease ?? null;
  }

  /** In a handler: takes effect when it ends. Not in one: false. */
  #decides(verdict: Verdict): boolean {
    if (!this.attempt) return false;
    this.#assertHeld();
    if (this.attempt.ended) throw new LeaseLostError(this.id, this.queueName);
    this.attempt.verdict = verdict;
    return true;
  }

  #assertHeld(): void {
    if (this.attempt?.lost) throw new LeaseLostError(this.id, this.queueName);
  }

  #gone(): Error {
    return this.#fence ? new LeaseLostError(this.id, this.queueName) : new JobNotFoundError(this.id, this.queueName);
  }

  #becameWaiting(): void {
    this.#engine.notifier.publish('job:waiting', this.queueName, this.id);
    this.#engine.notifier.wake(this.queueName);
  }

  async #read(): Promise<JobData> {
    const found = await getJob(this.#engine.executor, this.queueName, this.id);
    if (!found) throw new JobNotFoundError(this.id, this.queueName);
    return found.job;
  }
}

import type { DrizzleLike } from '../../db/drizzle-like.js';
import { ConveyorError, JobNotFoundError, LeaseLostError } from '../../model/errors.js';
import type { Duration, JobData, JobState } from '../../model/job.js';
import { parseDelay } from '../../model/options/duration.js';
import { integerIn } from '../../model/options/names.js';
import { errorText } from '../../model/payload/error-text.js';
import { encodePayload } from '../../model/payload/values.js';
import { cap, show } from '../../model/text.js';
import { failOne, removeOne } from '../../store/change/end.js';
import { changeDelay, changePriority, delayOne, discardOne, updateData } from '../../store/change/job-verbs.js';
import { clearLogs, setProgress } from '../../store/change/log-and-progress.js';
import { promoteOne } from '../../store/change/promote.js';
import { retryOne } from '../../store/change/retry.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { announceParents } from '../../store/events/announce.js';
import type { Lease } from '../../store/rules/lease.js';
import type { Engine } from '../../store/runtime/engine.js';
import { isOpen } from '../../store/settle/transaction-status.js';
import type { Attempt, AttemptEnd } from './attempt.js';
import { cancelAnyJob, cancelledError, cancelWithChildren, removeWithChildren } from './cancel.js';
import { type ChildrenOptions, withChildren } from './children-options.js';
import { assertDone, keepNewest, timeToRun } from './job-access.js';
import { JobFields, type JobSource } from './job-fields.js';
import { appendLine } from './log-appender.js';
import { type CheckedData, checkInput } from './schemas.js';

const MAX_LINE_LENGTH = 8_192;
const MAX_INT = 2_147_483_647;
const UNFINISHED: JobState[] = ['waiting', 'waiting-children', 'delayed', 'active'];

/** What can be changed about a job. Inside a handler every write is fenced by the lease of the attempt. */
export abstract class JobWrites<T, N extends string, R> extends JobFields<T, N, R> {
  /** @internal */
  protected readonly store: PgStore;
  /** @internal */
  readonly attempt: Attempt | undefined;
  readonly #checked: CheckedData | undefined;

  /** @internal */
  constructor(
    data: JobData<T> | JobSource<T>,
    store: PgStore,
    attempt: Attempt | undefined,
    checked: CheckedData | undefined,
  ) {
    super(data);
    this.store = store;
    this.attempt = attempt;
    this.#checked = checked;
  }

  /** The payload as JSON gives it back; in a worker with schemas, what its schema made of it. */
  override get data(): T {
    const output = this.#checked?.output;
    return output ? (output.data as T) : super.data;
  }

  /** @param progress 0 to 100, fractions allowed; else `RangeError`. */
  async updateProgress(progress: number): Promise<void> {
    if (typeof progress !== 'number' || !(progress >= 0 && progress <= 100)) {
      throw new RangeError(`updateProgress(${show(progress)}): progress must be a number from 0 to 100.`);
    }
    const settledIn = this.#assertNotLost();
    if (settledIn) await this.#assertEnded(settledIn);
    const { id, queueName } = this;
    const done = await setProgress(this.#engine.executor, queueName, id, progress, this.#fence());
    if (!done) {
      throw this.attempt ? new LeaseLostError(id, queueName) : new JobNotFoundError(id, queueName);
    }
    this.known.progress = progress;
    this.#engine.notifier.publish('job:progress', queueName, id, { data: progress });
  }

  /** Appends a line (at most 8,192 characters of it). A job keeps its newest 1,000 lines. */
  async log(line: string): Promise<void> {
    const settledIn = this.#assertNotLost();
    const text = cap(errorText(line).message, MAX_LINE_LENGTH);
    // At once, for the record of an attempt that does not wait for its last line.
    if (this.attempt) {
      this.attempt.logs ??= [];
      keepNewest(this.attempt.logs, text);
    }
    if (settledIn) await this.#assertEnded(settledIn);
    await appendLine(this.#engine, this.queueName, this.id, text, this.#fence());
    keepNewest(this.known.logs, text);
  }

  /** Empties the log, or keeps its newest lines. */
  async clearLogs(keep = 0): Promise<void> {
    integerIn(keep, 'clearLogs keep', 0, MAX_INT);
    const settledIn = this.#assertNotLost();
    if (settledIn) await this.#assertEnded(settledIn);
    const answer = await clearLogs(this.#engine.executor, this.queueName, this.id, keep, this.#fence());
    assertDone(answer, this, [], this.attempt);
    this.known.logs = keep > 0 ? this.known.logs.slice(-keep) : [];
  }

  /**
   * Replaces the payload of a job that has not ended. Where the job comes from a queue or worker with schemas, it takes
   * what `add` takes, and checks it.
   */
  async updateData(data: T): Promise<void> {
    const { maxPayloadBytes } = this.#engine.options;
    const checked = this.#checked && (await checkInput(this.#checked.schema, data, this.name, maxPayloadBytes));
    const text = encodePayload(checked ? checked.json : data, { path: 'data', maxBytes: maxPayloadBytes });
    const settledIn = this.#assertNotLost();
    if (settledIn) await this.#assertEnded(settledIn);
    const answer = await updateData(this.#engine.executor, this.queueName, this.id, text, this.#fence());
    assertDone(answer, this, UNFINISHED, this.attempt);
    this.read.data = JSON.parse(text) as T;
    if (checked && this.#checked?.output) this.#checked.output.data = checked.output;
  }

  /** No more retries for an active job: if the current attempt fails, the job has failed. */
  async discard(): Promise<void> {
    const settledIn = this.#assertNotLost();
    if (settledIn) await this.#assertEnded(settledIn);
    if (this.attempt) this.attempt.discarded = true;
    const answer = await discardOne(this.#engine.executor, this.queueName, this.id, this.#fence());
    assertDone(answer, this, 'active', this.attempt);
    this.known.discarded = true;
  }

  /**
   * In a handler: completes the job inside a transaction of the app's Drizzle client. The result commits with the
   * handler's own writes, or not at all; what the handler returns afterwards is ignored. When the transaction does not
   * commit, the attempt has failed.
   *
   * @throws LeaseLostError when the worker no longer holds the job: let it roll the transaction back.
   */
  async completeIn(transaction: DrizzleLike, returnvalue?: R): Promise<void> {
    await this.#settleIn(transaction, { kind: 'completed', returnvalue });
  }

  /** Likewise fails the attempt; what is left of the job's attempts follows as usual. */
  async failIn(transaction: DrizzleLike, error: unknown): Promise<void> {
    await this.#settleIn(transaction, { kind: 'failed', error });
  }

  /** A delayed job becomes waiting at once. */
  async promote(): Promise<void> {
    assertDone(await promoteOne(this.#engine.executor, this.queueName, this.id), this, 'delayed');
    this.known.state = 'waiting';
    this.known.delayUntil = null;
    this.#becameWaiting();
  }

  /** A delayed job runs in `delay` (ms, or a duration; more than 0) from now. */
  async changeDelay(delay: Duration): Promise<void> {
    const ms = parseDelay(delay, 'changeDelay');
    if (ms === 0)
      throw new RangeError(`changeDelay(${show(delay)}): delay must be at least 1 ms; promote() runs it now.`);
    assertDone(await changeDelay(this.#engine.executor, this.queueName, this.id, ms), this, 'delayed');
    this.known.delayUntil = new Date(Date.now() + ms);
    this.#engine.notifier.wake(this.queueName, ms);
  }

  /** A waiting or delayed job gets another priority: a 32-bit integer, lower goes first. */
  async changePriority(priority: number): Promise<void> {
    integerIn(priority, 'priority', -MAX_INT - 1, MAX_INT);
    assertDone(await changePriority(this.#engine.executor, this.queueName, this.id, priority), this, [
      'waiting',
      'delayed',
    ]);
    this.known.opts = { ...this.known.opts, priority };
  }

  /**
   * Delays an active job until `timestamp` (epoch ms, or a Date), which must lie in the future. The attempt does not
   * count. In its handler it takes effect when that ends, whatever it returns; from outside at once, and the worker
   * loses its lease.
   */
  async moveToDelayed(timestamp: number | Date): Promise<void> {
    const until = timeToRun(timestamp);
    if (this.#decideEnd({ kind: 'delayed', until })) return;
    const answer = await delayOne(this.#engine.executor, this.queueName, this.id, until, null);
    // The other reason for a refusal: an active job that was cancelled ends as cancelled.
    if (!answer.done && answer.found === 'active') throw cancelledError();
    assertDone(answer, this, 'active');
    Object.assign(this.known, { state: 'delayed', delayUntil: new Date(until), lockedBy: null, lockUntil: null });
    this.#engine.notifier.publish('job:delayed', this.queueName, this.id);
    this.#engine.notifier.wake(this.queueName, until - Date.now());
  }

  /** Fails the job for good. In a handler it takes effect when the handler ends, whatever that returns. */
  async moveToFailed(error: unknown): Promise<void> {
    if (this.#decideEnd({ kind: 'failed', error, final: true })) return;
    const { message, stack } = errorText(error);
    const shard = this.#engine.options.metrics.enabled ? this.#engine.shard : null;
    const answer = await failOne(this.#engine.executor, this.queueName, this.id, message, stack, null, shard);
    assertDone(answer, this, UNFINISHED);
    this.known.state = 'failed';
    this.known.failedReason = message;
    this.#engine.notifier.publish('job:failed', this.queueName, this.id, { data: message });
    announceParents(this.#engine.notifier, answer.parents);
  }

  /** A failed job starts over, with all its attempts; `InvalidJobStateError` in any other state. */
  async retry(): Promise<void> {
    const answer = await retryOne(this.#engine.executor, this.queueName, this.id);
    assertDone(answer, this, 'failed');
    Object.assign(this.known, {
      ...{ state: answer.became, attemptsMade: 0, progress: 0, returnvalue: null, stacktrace: [], discarded: false },
      ...{ failedReason: null, failedAt: null, completedAt: null, processedAt: null, cancelledAt: null },
    });
    if (answer.became === 'waiting') this.#becameWaiting();
  }

  /**
   * Deletes the job in any state; one that does not exist is no error. The policy of its parent applies. In its own
   * handler it ends the job: what the handler returns is not stored.
   *
   * The children of a parent stay, and run, unless `children` is true: then all its descendants are removed, in whatever
   * queues, and those that are active are cancelled.
   */
  async remove(options: ChildrenOptions = {}): Promise<void> {
    const children = withChildren(options, 'remove options');
    const settledIn = this.#assertNotLost();
    if (settledIn) await this.#assertEnded(settledIn);
    const lease = this.#fence();
    if (children) {
      const removed = await removeWithChildren(this.#engine, this.queueName, this.id, lease);
      if (!removed && lease) throw new LeaseLostError(this.id, this.queueName);
      if (this.attempt) this.attempt.lost = true;
      return;
    }
    const answer = await removeOne(this.#engine.executor, this.queueName, this.id, lease);
    if (!answer.done && lease) throw new LeaseLostError(this.id, this.queueName);
    // So that the worker does not report the lease as taken by another.
    if (this.attempt) this.attempt.lost = true;
    if (answer.done) this.#engine.notifier.publish('job:removed', this.queueName, this.id);
    announceParents(this.#engine.notifier, answer.parents);
  }

  /**
   * Not started: fails as cancelled at once. Active: its signal aborts. True when either happened.
   *
   * The children of a parent run all the same, unless `children` is true: then all its descendants that have not ended
   * are cancelled, in whatever queues; true when any of them was.
   */
  async cancel(options: ChildrenOptions = {}): Promise<boolean> {
    if (withChildren(options, 'cancel options')) return cancelWithChildren(this.#engine, this.queueName, this.id);
    return cancelAnyJob(this.#engine, this.queueName, this.id);
  }

  get #engine(): Engine {
    return this.store.engine;
  }

  /** The fence of a write, which moves the row. */
  #fence(): Lease | null {
    if (!this.attempt) return null;
    this.attempt.place = undefined;
    return this.attempt.lease;
  }

  async #settleIn(transaction: DrizzleLike, end: AttemptEnd): Promise<void> {
    this.#assertNotLost();
    const { attempt } = this;
    if (!attempt?.settleInTransaction || attempt.ended) {
      throw new ConveyorError('completeIn() and failIn() work only on the job of a running handler.', {
        code: 'NOT_IN_HANDLER',
      });
    }
    const held = await attempt.settleInTransaction(attempt, transaction, end);
    if (!held) throw new LeaseLostError(this.id, this.queueName);
  }

  /** In a handler: the attempt ends like this, and true. Elsewhere false. */
  #decideEnd(end: AttemptEnd): boolean {
    if (!this.attempt) return false;
    this.#assertNotLost();
    if (this.attempt.ended) throw new LeaseLostError(this.id, this.queueName);
    this.attempt.decided = end;
    return true;
  }

  /** @returns the transaction in which the handler has settled the job, if it has */
  #assertNotLost(): string | undefined {
    if (this.attempt?.lost) throw new LeaseLostError(this.id, this.queueName);
    return this.attempt?.settledIn;
  }

  /** A write outside of the transaction that has settled the job would wait for its end, and that for the handler. */
  async #assertEnded(transaction: string): Promise<void> {
    if (!(await isOpen(this.#engine.executor, transaction))) return;
    throw new ConveyorError(
      `Job "${this.id}" was settled by completeIn() or failIn() in a transaction that is still open, which holds its row. ` +
        'Write to the job before that, or after the transaction has ended.',
      { code: 'SETTLED_IN_TRANSACTION' },
    );
  }

  #becameWaiting(): void {
    this.#engine.notifier.publish('job:waiting', this.queueName, this.id);
    this.#engine.notifier.wake(this.queueName);
  }
}

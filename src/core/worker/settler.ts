import { LeaseLostError, NotCommittedError } from '../../model/errors.js';
import { announceParents } from '../../store/events/announce.js';
import { getJob } from '../../store/read/find.js';
import type { BatchItem } from '../../store/runtime/batcher.js';
import type { Engine } from '../../store/runtime/engine.js';
import type { Settled, Settlement } from '../../store/settle/settle.js';
import type { AttemptEnd } from '../job/attempt.js';
import { emitSettled, publishSettled, type SettledListeners } from './announce-settled.js';
import type { LeasedJob, SettledAttempt, SettledInTransaction } from './leased-job.js';
import { transactionOutcome } from './settle-in-transaction.js';
import { type Prepared, prepareSettlement, type SettlementRules } from './settlement.js';
import { SettlementWriter, type Written } from './settlement-writer.js';

export interface SettlerOptions {
  readonly engine: Engine;
  readonly queueName: string;
  readonly rules: SettlementRules;
  /** ms. */
  readonly lockDuration: number;
  /** Claims are limited: workers that wait for the limit must be woken by every end of a job. */
  readonly limited: boolean;
  readonly listeners: SettledListeners;
  /** The worker does not hold the job any more. */
  done(job: LeasedJob): void;
  /** Called whenever `pending` has decreased. */
  progressed(): void;
  error(error: unknown): void;
}

/** A rough size of what a settlement adds to its batch. */
const sizeOf = ({ returnvalue, logs, reason, stack }: Settlement): number =>
  256 + (returnvalue?.length ?? 0) + (logs?.length ?? 0) + (reason?.length ?? 0) + (stack?.length ?? 0);

interface EndedAttempt {
  readonly job: LeasedJob;
  readonly end: AttemptEnd;
  readonly finished: (() => void) | undefined;
}

interface Outcome {
  written(ended: EndedAttempt, written: Written): void;
  failed(ended: EndedAttempt, settlement: Settlement, failure: unknown): void;
}

/** The first try to settle an attempt: one object without closures or a promise, because there is one per job. */
class FirstTry implements BatchItem<Settlement, Settled | undefined> {
  readonly value: Settlement;
  readonly size: number;
  readonly #ended: EndedAttempt;
  readonly #outcome: Outcome;

  constructor(settlement: Settlement, ended: EndedAttempt, outcome: Outcome) {
    this.value = settlement;
    this.size = sizeOf(settlement);
    this.#ended = ended;
    this.#outcome = outcome;
  }

  resolve(settled: Settled | undefined): void {
    this.#outcome.written(this.#ended, { settlement: this.value, settled });
  }

  reject(failure: unknown): void {
    this.#outcome.failed(this.#ended, this.value, failure);
  }
}

/** Writes how attempts ended, and announces it. */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #writer: SettlementWriter;
  readonly #outcome: Outcome = {
    written: (ended, written) => this.#written(ended, written),
    failed: (ended, settlement, failure) => this.#again(ended, settlement, failure),
  };
  #pending = 0;

  constructor(options: SettlerOptions) {
    this.#options = options;
    const { engine, rules } = options;
    this.#writer = new SettlementWriter({
      logger: rules.logger,
      connected: () => engine.connected,
      reduced: options.error,
    });
  }

  /** Attempts that have ended and are not settled yet. */
  get pending(): number {
    return this.#pending;
  }

  /** The worker is closed: what is not written by now is left to its lease. */
  stop(): void {
    this.#writer.stop();
  }

  /** Never throws. `finished` is called when the job is settled, or cannot be. */
  settle(job: LeasedJob, end: AttemptEnd, finished?: () => void): void {
    if (job.attempt.lost) {
      this.#options.done(job);
      finished?.();
      return;
    }
    this.#pending++;
    if (job.settledInTransaction) {
      this.#afterTransaction(job, end, job.settledInTransaction).then(
        () => this.#finish(finished),
        (error) => this.#failed(job, error, finished),
      );
      return;
    }
    const prepared = prepareSettlement(job, end, this.#options.rules);
    if (!(prepared instanceof Promise)) this.#send(job, end, prepared, finished);
    else {
      prepared.then(
        (ready) => this.#send(job, end, ready, finished),
        (error) => this.#failed(job, error, finished),
      );
    }
  }

  #send(job: LeasedJob, end: AttemptEnd, { settlement, warning }: Prepared, finished: (() => void) | undefined): void {
    if (warning) this.#options.error(warning);
    this.#options.engine.settlements.add(new FirstTry(settlement, { job, end, finished }, this.#outcome));
  }

  #written({ job, end, finished }: EndedAttempt, { settlement, settled }: Written): void {
    if (settled) this.#settled(job, { end, settlement, settled }, finished);
    else this.#notWritten(job, end, settlement, finished);
  }

  #again(ended: EndedAttempt, settlement: Settlement, failure: unknown): void {
    const { settlements } = this.#options.engine;
    this.#writer
      .write(
        settlement,
        (one) => settlements.push(one, sizeOf(one)),
        (one) => settlements.alone(one),
        failure,
      )
      .then(
        (written) => this.#written(ended, written),
        (lastFailure) => this.#failed(ended.job, lastFailure, ended.finished),
      );
  }

  #settled(job: LeasedJob, attempt: SettledAttempt, finished: (() => void) | undefined): void {
    this.#options.done(job);
    try {
      this.#announce(job, attempt);
    } catch (error) {
      this.#options.error(error);
    }
    this.#finish(finished);
  }

  /** The lease is lost, unless this very settlement has removed the job and its answer was lost. */
  #notWritten(job: LeasedJob, end: AttemptEnd, settlement: Settlement, finished: (() => void) | undefined): void {
    const { queueName, lockDuration } = this.#options;
    const leaseMayHold = job.confirmedAt + lockDuration > performance.now();
    const removed = leaseMayHold ? this.#removedAlready(settlement) : Promise.resolve(undefined);
    removed.then(
      (settled) => {
        if (settled) this.#settled(job, { end, settlement, settled }, finished);
        else this.#failed(job, new LeaseLostError(settlement.id, queueName), finished);
      },
      (error) => this.#failed(job, error, finished),
    );
  }

  #failed(job: LeasedJob, error: unknown, finished: (() => void) | undefined): void {
    this.#options.done(job);
    this.#options.error(error);
    this.#finish(finished);
  }

  #finish(finished: (() => void) | undefined): void {
    this.#pending--;
    finished?.();
    this.#options.progressed();
  }

  #announce({ stored }: LeasedJob, attempt: SettledAttempt): void {
    const { engine, queueName, limited, listeners } = this.#options;
    publishSettled(engine.notifier, stored, attempt);
    if (limited) engine.notifier.wake(queueName);
    emitSettled(listeners, stored, attempt);
  }

  /**
   * The handler settled the job in a transaction. If that has committed, only the announcement is left; if not, the
   * attempt has failed, whatever the handler returned.
   */
  async #afterTransaction(job: LeasedJob, returned: AttemptEnd, written: SettledInTransaction): Promise<void> {
    const { engine, queueName, rules, done, error } = this.#options;
    const { id } = job.stored;
    const end: AttemptEnd =
      returned.kind === 'completed' ? { kind: 'failed', error: new NotCommittedError(id) } : returned;
    const { settlement } = await prepareSettlement(job, end, rules);
    // Waits for the transaction if the handler did not; alone, so that no other settlement waits with it.
    const { settlement: sent, settled: rolledBack } = await this.#writer.write(
      settlement,
      (one) => engine.settlements.ifActive(one),
      (one) => engine.settlements.aloneIfActive(one),
    );
    const outcome = rolledBack
      ? { committed: false, settled: rolledBack }
      : await transactionOutcome(engine, job.stored, written);
    done(job);
    if (!outcome) {
      error(new LeaseLostError(id, queueName));
    } else if (outcome.committed) {
      announceParents(engine.notifier, written.parents);
      this.#announce(job, written);
    } else {
      this.#announce(job, { end, settlement: sent, settled: outcome.settled });
    }
  }

  /**
   * A settlement that removed its job and whose answer was lost finds nothing when it is sent again. While the lease
   * holds, no other can have ended the job, so if it does not exist, this settlement has removed it.
   */
  async #removedAlready(settlement: Settlement): Promise<Settled | undefined> {
    const { queueName, id, kind, keepCompletedMs, keepFailedMs } = settlement;
    const removes = (kind === 'completed' && keepCompletedMs === 0) || (kind === 'failed' && keepFailedMs === 0);
    if (!removes || (await getJob(this.#options.engine.executor, queueName, id))) return undefined;
    return { state: kind, cancelled: false, removed: true };
  }
}

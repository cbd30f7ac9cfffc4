import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLockTimeout } from '../../db/errors.js';
import { ConnectionError, LeaseLostError, NotCommittedError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import { announceParents } from '../../store/events/announce.js';
import { getJob } from '../../store/read/find.js';
import type { StoredJob } from '../../store/rows/job-row.js';
import type { Engine } from '../../store/runtime/engine.js';
import { CANCELLED_REASON, type Settled, type Settlement } from '../../store/settle/settle.js';
import type { LeasedJob } from './leases.js';
import { type SettledInTransaction, transactionOutcome } from './settle-in-transaction.js';
import { type AttemptEnd, type Prepared, prepareSettlement, type SettlementRules } from './settlement.js';

/** Results up to this size travel with the event of their job; larger ones are read by those who want them. */
const EVENT_RESULT_BYTES = 4_096;
/** The last pause again and again while the database is away: what has ended is worth writing down whenever it is back. */
const RETRY_MS = [100, 500, 1_000, 2_000, 5_000, 5_000, 10_000];
/** What the database refuses for what it says it will hardly take the next time. */
const MAX_REFUSALS = RETRY_MS.length;

/** What it adds to its batch, roughly. */
const sizeOf = ({ result, logs, reason, stack }: Settlement): number =>
  256 + (result?.length ?? 0) + (logs?.length ?? 0) + (reason?.length ?? 0) + (stack?.length ?? 0);

export interface SettlerOptions {
  readonly engine: Engine;
  readonly queueName: string;
  readonly rules: SettlementRules;
  /** ms. */
  readonly lockDuration: number;
  /** Limits are in force: whoever waits for the room that a job took up must be told. */
  readonly limited: boolean;
  /** The job is out of this worker's hands. */
  done(held: LeasedJob): void;
  /** Nothing more is on its way, or less than before. */
  progressed(): void;
  completed(stored: StoredJob, changed: Partial<JobData>, result: unknown): void;
  failed(stored: StoredJob, changed: Partial<JobData>, error: Error): void;
  error(error: unknown): void;
}

/** Writes down how attempts ended, and tells everybody. */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #givenUp = new AbortController();
  #pending = 0;

  constructor(options: SettlerOptions) {
    this.#options = options;
    // While the database is away everything that has ended listens to it: no leak, and nothing to warn of.
    setMaxListeners(0, this.#givenUp.signal);
  }

  /** Ended attempts that are not written down yet. */
  get pending(): number {
    return this.#pending;
  }

  /** The worker is closed and has waited long enough: what is not written down by now runs out of its lease. */
  giveUp(): void {
    this.#givenUp.abort();
  }

  /** Never throws. `finished` is called when the job is settled, or cannot be. */
  settle(held: LeasedJob, end: AttemptEnd, finished?: () => void): void {
    const { attempt } = held;
    if (attempt.lost) {
      this.#options.done(held);
      finished?.();
      return;
    }
    this.#pending++;
    if (attempt.inTransaction) {
      this.#afterTransaction(held, end, attempt.inTransaction).then(
        () => this.#finish(finished),
        (error) => this.#failed(held, error, finished),
      );
      return;
    }
    const prepared = prepareSettlement(held, end, this.#options.rules);
    if (!(prepared instanceof Promise)) this.#send(held, end, prepared, finished);
    else {
      prepared.then(
        (ready) => this.#send(held, end, ready, finished),
        (error) => this.#failed(held, error, finished),
      );
    }
  }

  #send(held: LeasedJob, end: AttemptEnd, { settlement, warning }: Prepared, finished: (() => void) | undefined): void {
    const { engine, error } = this.#options;
    if (warning) error(warning);
    engine.settlements.add({
      value: settlement,
      size: sizeOf(settlement),
      resolve: (settled) => {
        if (!settled) this.#notOurs(held, end, settlement, finished);
        else this.#settled(held, end, settlement, settled, finished);
      },
      reject: (failure) => {
        this.#write(
          settlement,
          (one) => engine.settlements.push(one, sizeOf(one)),
          (one) => engine.settlements.alone(one),
          failure,
        ).then(
          (settled) => {
            if (!settled) this.#notOurs(held, end, settlement, finished);
            else this.#settled(held, end, settlement, settled, finished);
          },
          (again) => this.#failed(held, again, finished),
        );
      },
    });
  }

  #settled(
    held: LeasedJob,
    end: AttemptEnd,
    settlement: Settlement,
    settled: Settled,
    finished: (() => void) | undefined,
  ): void {
    this.#options.done(held);
    try {
      this.#tell(held.stored, settled, settlement, end);
    } catch (error) {
      this.#options.error(error);
    }
    this.#finish(finished);
  }

  /** Nothing was written: the lease is lost, unless the job was removed by this very settlement before. */
  #notOurs(held: LeasedJob, end: AttemptEnd, settlement: Settlement, finished: (() => void) | undefined): void {
    const { queueName, lockDuration } = this.#options;
    const mayBeOurs = held.confirmedAt + lockDuration > performance.now();
    const removed = mayBeOurs ? this.#removedAlready(settlement) : Promise.resolve(undefined);
    removed.then(
      (settled) => {
        if (settled) this.#settled(held, end, settlement, settled, finished);
        else this.#failed(held, new LeaseLostError(settlement.id, queueName), finished);
      },
      (error) => this.#failed(held, error, finished),
    );
  }

  #failed(held: LeasedJob, error: unknown, finished: (() => void) | undefined): void {
    this.#options.done(held);
    this.#options.error(error);
    this.#finish(finished);
  }

  #finish(finished: (() => void) | undefined): void {
    this.#pending--;
    finished?.();
    this.#options.progressed();
  }

  /**
   * The handler settled the job in a transaction of its own. If that committed, this only says so; if not, the
   * attempt has failed, whatever the handler returned.
   */
  async #afterTransaction(held: LeasedJob, end: AttemptEnd, written: SettledInTransaction): Promise<void> {
    const { engine, queueName, rules, done, error } = this.#options;
    const { stored } = held;
    const failure: AttemptEnd =
      end.kind === 'completed' ? { kind: 'failed', error: new NotCommittedError(stored.job.id) } : end;
    const { settlement } = await prepareSettlement(held, failure, rules);
    // Waits for the transaction if the handler did not; alone, so that nobody else's settlement waits with it.
    const rolledBack = await this.#write(
      settlement,
      (one) => engine.settlements.ifActive(one),
      (one) => engine.settlements.aloneIfActive(one),
    );
    if (rolledBack) {
      done(held);
      this.#tell(stored, rolledBack, settlement, failure);
      return;
    }
    const fate = await transactionOutcome(engine, held, written);
    done(held);
    if (fate === 'lease lost') {
      error(new LeaseLostError(stored.job.id, queueName));
      return;
    }
    if (fate !== 'committed') {
      this.#tell(stored, fate, settlement, failure);
      return;
    }
    announceParents(engine.notifier, written.parents);
    this.#tell(stored, written.settled, written.settlement, written.end);
  }

  /**
   * A settlement that removed its job and whose answer was lost finds nothing when it is sent again. While the lease
   * was ours nobody else can have ended the job; so if it is gone, it was this.
   */
  async #removedAlready(settlement: Settlement): Promise<Settled | undefined> {
    const { queueName, id, kind, removeCompletedAfter, removeFailedAfter } = settlement;
    const removes =
      (kind === 'completed' && removeCompletedAfter === 0) || (kind === 'failed' && removeFailedAfter === 0);
    if (!removes || (await getJob(this.#options.engine.executor, queueName, id))) return undefined;
    return { state: kind, cancelled: false, removed: true };
  }

  /** Until it is written: a job is never thrown away because the database was away. At worst its lease runs out. */
  async #write(
    settlement: Settlement,
    send: (settlement: Settlement) => Promise<Settled | undefined>,
    alone: (settlement: Settlement) => Promise<Settled | undefined>,
    failure?: unknown,
  ): Promise<Settled | undefined> {
    const { engine, rules } = this.#options;
    let sent = send;
    let known = failure;
    let locked = 0;
    for (let attempt = 0; ; attempt++) {
      try {
        // Sent once already, in vain.
        if (known !== undefined) throw known;
        return await sent(settlement);
      } catch (error) {
        known = undefined;
        const refused = !(error instanceof ConnectionError) && attempt >= MAX_REFUSALS;
        if (refused || this.#givenUp.signal.aborted || !engine.connected) throw error;
        if (isLockTimeout(error)) {
          // Its parent's row, or another's of its batch, is in somebody's open transaction: wait for that alone, outside
          // the batches, for as long as it takes.
          if (settlement.hasParent || locked++ > 0) sent = alone;
          attempt = -1;
          continue;
        }
        rules.logger.warn(`conveyor: could not settle job "${settlement.id}", trying again`, error);
        const delay = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] as number;
        await sleep(delay * (0.5 + Math.random()), undefined, { signal: this.#givenUp.signal }).catch(() => {});
      }
    }
  }

  #tell(stored: StoredJob, settled: Settled, settlement: Settlement, end: AttemptEnd): void {
    const { queueName, engine, limited, completed, failed } = this.#options;
    const { id, attemptsMade } = stored.job;
    const { notifier } = engine;
    const { state, cancelled, removed } = settled;
    const reason = cancelled ? CANCELLED_REASON : (settlement.reason ?? '');
    if (state === 'completed') {
      const text = settlement.result ?? 'null';
      const travels = text.length <= EVENT_RESULT_BYTES || removed;
      notifier.publishJson('job:completed', queueName, id, travels ? `{"returnvalue":${text}}` : '{"partial":true}');
    } else if (state === 'failed') {
      notifier.publish('job:failed', queueName, id, { failedReason: reason, ...(cancelled && { cancelled }) });
    } else {
      const again = end.kind === 'failed' ? { failedReason: reason, attemptsMade: attemptsMade + 1 } : undefined;
      notifier.publish(state === 'delayed' ? 'job:delayed' : 'job:waiting', queueName, id, again);
      if (state === 'waiting') notifier.wake(queueName);
      else
        notifier.wake(queueName, settlement.until === undefined ? settlement.delayMs : settlement.until - Date.now());
    }
    if (limited) notifier.wake(queueName);
    if (state === 'completed' && end.kind === 'completed') {
      completed(stored, { state, failedReason: null, returnvalue: end.value, completedAt: new Date() }, end.value);
      return;
    }
    const changed: Partial<JobData> = {
      state,
      failedReason: state === 'completed' ? null : reason || null,
      failedAt: state === 'failed' ? new Date() : stored.job.failedAt,
    };
    if (end.kind === 'failed') {
      const error = end.error instanceof Error ? end.error : new Error(settlement.reason ?? 'failed');
      failed(stored, { ...changed, attemptsMade: attemptsMade + 1 }, error);
    } else if (state === 'failed') {
      const made = attemptsMade + (end.kind === 'completed' ? 1 : 0);
      failed(stored, { ...changed, attemptsMade: made }, new Error(CANCELLED_REASON));
    }
  }
}

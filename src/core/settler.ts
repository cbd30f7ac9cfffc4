import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../db/driver-errors.js';
import { ConnectionError, LeaseLostError, NotCommittedError } from '../model/errors.js';
import type { JobData } from '../model/job.js';
import type { Engine, SettleAnswer } from '../store/engine.js';
import type { StoredJob } from '../store/job-row.js';
import { getJob } from '../store/jobs.js';
import { CANCELLED_REASON, type Settled, type Settlement } from '../store/settle.js';
import { announceParents, jobEvent } from './announce.js';
import type { Held } from './holds.js';
import { fateOf, type SettledInTransaction } from './settle-in.js';
import { type AttemptEnd, prepareSettlement, type SettlementRules } from './settlement.js';

/** Results up to this size travel with the event of their job; larger ones are read by those who want them. */
const EVENT_RESULT_BYTES = 4_096;
/** The last pause again and again while the database is away: what has ended is worth writing down whenever it is back. */
/** SQLSTATE lock_not_available. */
const LOCK_TIMEOUT = '55P03';
const RETRY_MS = [100, 500, 1_000, 2_000, 5_000, 5_000, 10_000];
/** What the database refuses for what it says it will hardly take the next time. */
const MAX_REFUSALS = RETRY_MS.length;

export interface SettlerOptions {
  readonly engine: Engine;
  readonly queueName: string;
  readonly rules: SettlementRules;
  /** ms. */
  readonly lockDuration: number;
  /** Limits are in force: whoever waits for the room that a job took up must be told. */
  readonly limited: boolean;
  /** The job is out of this worker's hands. */
  done(held: Held): void;
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
  }

  /** Ended attempts that are not written down yet. */
  get pending(): number {
    return this.#pending;
  }

  /** The worker is closed and has waited long enough: what is not written down by now runs out of its lease. */
  giveUp(): void {
    this.#givenUp.abort();
  }

  /** Never rejects. */
  async settle(held: Held, end: AttemptEnd): Promise<void> {
    const { engine, queueName, rules, done, error } = this.#options;
    const { attempt, stored } = held;
    if (attempt.lost) {
      done(held);
      return;
    }
    this.#pending++;
    try {
      if (attempt.inTransaction) {
        await this.#afterTransaction(held, end, attempt.inTransaction);
        return;
      }
      const { settlement, warning } = await prepareSettlement(held, end, rules);
      if (warning) error(warning);
      const mayBeOurs = held.confirmedAt + this.#options.lockDuration > performance.now();
      const settled =
        (await this.#write(settlement, (one) => engine.settlements.push(one, one.result?.length ?? 256))) ??
        (mayBeOurs ? await this.#removedAlready(settlement) : undefined);
      done(held);
      if (settled) this.#tell(stored, settled, settlement, end);
      else error(new LeaseLostError(stored.job.id, queueName));
    } catch (failure) {
      done(held);
      error(failure);
    } finally {
      this.#pending--;
      this.#options.progressed();
    }
  }

  /**
   * The handler settled the job in a transaction of its own. If that committed, this only says so; if not, the
   * attempt has failed, whatever the handler returned.
   */
  async #afterTransaction(held: Held, end: AttemptEnd, written: SettledInTransaction): Promise<void> {
    const { engine, queueName, rules, done, error } = this.#options;
    const { stored } = held;
    const failure: AttemptEnd =
      end.kind === 'completed' ? { kind: 'failed', error: new NotCommittedError(stored.job.id) } : end;
    const { settlement } = await prepareSettlement(held, failure, rules);
    // Waits for the transaction if the handler did not; alone, so that nobody else's settlement waits with it.
    const rolledBack = await this.#write(settlement, (one) => engine.settleAlone(one));
    if (rolledBack) {
      done(held);
      this.#tell(stored, rolledBack, settlement, failure);
      return;
    }
    const fate = await fateOf(engine, held, written);
    done(held);
    if (fate === 'lease lost') {
      error(new LeaseLostError(stored.job.id, queueName));
      return;
    }
    if (fate !== 'committed') {
      this.#tell(stored, fate, settlement, failure);
      return;
    }
    announceParents(engine, written.parents);
    this.#tell(stored, written.settled, (await prepareSettlement(held, written.end, rules)).settlement, written.end);
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
    return { queueName, id, state: kind, cancelled: false, removed: true };
  }

  /** Until it is written: a job is never thrown away because the database was away. At worst its lease runs out. */
  async #write(
    settlement: Settlement,
    send: (settlement: Settlement) => Promise<SettleAnswer>,
  ): Promise<Settled | undefined> {
    const { engine, rules } = this.#options;
    let sent = send;
    for (let attempt = 0; ; attempt++) {
      try {
        const { settled, parents } = await sent(settlement);
        announceParents(engine, parents);
        return settled;
      } catch (error) {
        const refused = !(error instanceof ConnectionError) && attempt >= MAX_REFUSALS;
        if (refused || this.#givenUp.signal.aborted || !engine.connected) throw error;
        if (codeOf(error) === LOCK_TIMEOUT) {
          // Its parent's row is in somebody's open transaction: wait for that alone, outside the batches.
          sent = (one) => engine.settleAlone(one);
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
    const { hub } = engine;
    const { state, cancelled, removed } = settled;
    const reason = cancelled ? CANCELLED_REASON : (settlement.reason ?? '');
    if (state === 'completed') {
      const text = settlement.result ?? 'null';
      const travels = text.length <= EVENT_RESULT_BYTES || removed;
      const data = travels ? { returnvalue: JSON.parse(text) } : { partial: true };
      hub.publish([jobEvent('job:completed', queueName, id, data)]);
    } else if (state === 'failed') {
      hub.publish([jobEvent('job:failed', queueName, id, { failedReason: reason, ...(cancelled && { cancelled }) })]);
    } else {
      const again = end.kind === 'failed' ? { failedReason: reason, attemptsMade: attemptsMade + 1 } : undefined;
      hub.publish([jobEvent(state === 'delayed' ? 'job:delayed' : 'job:waiting', queueName, id, again)]);
      if (state === 'waiting') hub.ring(queueName);
      else hub.ring(queueName, settlement.until === undefined ? settlement.delayMs : settlement.until - Date.now());
    }
    if (limited) hub.ring(queueName);
    const changed: Partial<JobData> = {
      state,
      failedReason: state === 'completed' ? null : reason || null,
      failedAt: state === 'failed' ? new Date() : stored.job.failedAt,
    };
    if (state === 'completed' && end.kind === 'completed') {
      completed(stored, { ...changed, returnvalue: end.value, completedAt: new Date() }, end.value);
    } else if (end.kind === 'failed') {
      const error = end.error instanceof Error ? end.error : new Error(settlement.reason ?? 'failed');
      failed(stored, { ...changed, attemptsMade: attemptsMade + 1 }, error);
    } else if (state === 'failed') {
      const made = attemptsMade + (end.kind === 'completed' ? 1 : 0);
      failed(stored, { ...changed, attemptsMade: made }, new Error(CANCELLED_REASON));
    }
  }
}

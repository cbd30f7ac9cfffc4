import { randomInt } from 'node:crypto';
import type { DrizzleLike } from '../../db/drizzle-like.js';
import { LeaseLostError } from '../../model/errors.js';
import type { AttemptRecord } from '../../model/job.js';
import { DUE_NOW } from '../../store/events/announce.js';
import type { OutgoingMessage } from '../../store/events/wire.js';
import { getJob } from '../../store/read/find.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import type { ParentChange } from '../../store/rules/cascade.js';
import { METRIC_SHARDS } from '../../store/rules/metrics-buckets.js';
import type { Engine } from '../../store/runtime/engine.js';
import { type Settled, type Settlement, settle } from '../../store/settle/settle.js';
import { hasCommitted } from '../../store/settle/transaction-status.js';
import type { AttemptEnd } from '../job/attempt.js';
import type { LeasedJob, SettledInTransaction } from './leased-job.js';
import { prepareSettlement, type SettlementRules } from './settlement.js';

/**
 * Ends the attempt inside the caller's transaction: result, state and what follows from it commit with the handler's
 * own writes, or not at all.
 *
 * @throws LeaseLostError when the job is not held any more: the transaction must roll back
 */
export async function settleInTransaction(
  engine: Engine,
  transaction: DrizzleLike,
  job: LeasedJob,
  end: AttemptEnd,
  rules: SettlementRules,
): Promise<SettledInTransaction> {
  if (typeof transaction?.execute !== 'function') {
    throw new TypeError(
      'completeIn() and failIn() take the transaction that db.transaction(async (tx) => …) hands out.',
    );
  }
  const { settlement, warning } = await prepareSettlement(job, end, rules);
  // Unlike after the handler, the problem can be reported to the caller: the transaction rolls back.
  if (warning) throw warning;
  const executor = engine.within(transaction);
  const {
    outcomes,
    parents,
    transaction: xid,
  } = await settle(executor, [settlement], {
    metrics: engine.options.metrics.enabled,
    // A metrics row of its own: no other process may wait for this transaction because of a counter.
    shard: randomInt(METRIC_SHARDS, 2 ** 30),
    returnXid: true,
  });
  const [settled] = outcomes;
  if (!settled || xid === undefined) throw new LeaseLostError(settlement.id, settlement.queueName);
  const wakes = wakesOf(settled, settlement, parents);
  if (wakes.length > 0) await engine.notifier.notifyIn(executor, wakes);
  return { end, settlement, settled, parents, xid };
}

/**
 * The workers that the commit itself must wake: those of jobs that can run because of it. The handler may go on for
 * long after the commit, and only its end publishes events. Most jobs make no other one runnable and notify nothing.
 */
function wakesOf(
  { state }: Settled,
  { queueName, delayMs }: Settlement,
  parents: readonly ParentChange[],
): OutgoingMessage[] {
  const wakes = new Map<string, OutgoingMessage>();
  const wakeOf = (name: string): OutgoingMessage => {
    const wake = wakes.get(name) ?? { queueName: name, events: [], wake: false, dueIn: null };
    wakes.set(name, wake);
    return wake;
  };
  if (state === 'waiting') wakeOf(queueName).wake = true;
  else if (state === 'delayed' && delayMs !== undefined) wakeOf(queueName).dueIn = delayMs;
  for (const parent of parents) {
    if (parent.state === 'waiting') wakeOf(parent.queueName).wake = true;
    else if (parent.state === 'delayed') wakeOf(parent.queueName).dueIn = DUE_NOW;
  }
  return [...wakes.values()];
}

/** How a job ended that was settled in a transaction and is not active under its lease any more. */
export interface TransactionOutcome {
  /** False: it rolled back, and a later settlement ended the attempt whose answer was lost. */
  readonly committed: boolean;
  readonly settled: Settled;
}

/**
 * What became of a job that was settled in a transaction and is not active under its lease any more; undefined when
 * the lease is lost. After a commit anything may have happened to the job.
 */
export async function transactionOutcome(
  engine: Engine,
  stored: StoredJob,
  written: SettledInTransaction,
): Promise<TransactionOutcome | undefined> {
  const { queueName, id, createdAt } = stored.job;
  const committed = { committed: true, settled: written.settled };
  const found = await getJob(engine.executor, queueName, id);
  if (found?.job.createdAt.getTime() !== createdAt.getTime()) {
    // Removed, or another job by the same id.
    return (await hasCommitted(engine.executor, written.xid)) ? committed : undefined;
  }
  // The record and not the transaction's id decides: a nested transaction may have been rolled back alone.
  if (found.job.attemptLogs.some((record) => isRecordOf(record, stored, written))) return committed;
  const { state, cancelledAt } = found.job;
  if (found.lease !== stored.lease || state === 'active') return undefined;
  return { committed: false, settled: { state, cancelled: cancelledAt !== null, removed: false } };
}

/** Whether a record is of this attempt, and says of it what was settled in the transaction. */
function isRecordOf(record: AttemptRecord, { job }: StoredJob, { settled, settlement }: SettledInTransaction): boolean {
  const completed = settled.state === 'completed';
  return (
    record.attempt === job.attemptsMade + 1 &&
    record.startedAt === (settlement.startedAt ?? null) &&
    record.status === (completed ? 'completed' : 'failed') &&
    (completed || settled.cancelled || record.error === settlement.reason)
  );
}

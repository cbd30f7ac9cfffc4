import { randomInt } from 'node:crypto';
import type { DrizzleLike } from '../../db/drizzle-like.js';
import { LeaseLostError } from '../../model/errors.js';
import type { AttemptRecord } from '../../model/job.js';
import { DUE_NOW } from '../../store/events/announce.js';
import { isDueSoon } from '../../store/events/notifier.js';
import type { OutgoingMessage } from '../../store/events/wire.js';
import { getJob } from '../../store/read/find.js';
import { METRIC_SHARDS } from '../../store/rules/metrics-buckets.js';
import type { Engine } from '../../store/runtime/engine.js';
import { type ParentChange, type Settled, type Settlement, settle } from '../../store/settle/settle.js';
import { hasCommitted } from '../../store/settle/transaction-status.js';
import type { LeasedJob } from './leases.js';
import { type AttemptEnd, prepareSettlement, type SettlementRules } from './settlement.js';

/** What was settled inside a transaction of the handler's, should that commit. */
export interface SettledInTransaction {
  readonly end: AttemptEnd;
  readonly settlement: Settlement;
  readonly settled: Settled;
  readonly parents: readonly ParentChange[];
  /** The transaction's number. */
  readonly transaction: string;
}

/**
 * Ends the attempt inside the caller's transaction: result, state and what follows from it commit with the handler's
 * own writes, or not at all. Throws `LeaseLostError` when the job is no longer held: the transaction must roll back.
 */
export async function settleInTransaction(
  engine: Engine,
  transaction: DrizzleLike,
  held: LeasedJob,
  end: AttemptEnd,
  rules: SettlementRules,
): Promise<SettledInTransaction> {
  if (typeof transaction?.execute !== 'function') {
    throw new TypeError(
      'completeIn() and failIn() take the transaction that db.transaction(async (tx) => …) hands out.',
    );
  }
  const { settlement, warning } = await prepareSettlement(held, end, rules);
  // Here somebody can still be told: the transaction rolls back, and the job is tried again.
  if (warning) throw warning;
  const { metrics } = engine.options;
  const executor = engine.within(transaction);
  const {
    outcomes,
    parents,
    transaction: number,
  } = await settle(executor, [settlement], {
    metrics: metrics.enabled,
    // A row of the metrics to itself: nobody shall wait for this transaction because of a counter.
    shard: ownShard(),
    returnXid: true,
  });
  const [one] = outcomes;
  if (!one || number === undefined) throw new LeaseLostError(held.stored.job.id, held.stored.job.queueName);
  const wakes = wakesOf(one, settlement, parents);
  if (wakes.length > 0) await engine.notifier.notifyIn(executor, wakes);
  return { end, settlement, settled: one, parents, transaction: number };
}

const ownShard = () => randomInt(METRIC_SHARDS, 2 ** 30);

/**
 * What the commit itself shall wake, for the handler may go on for long, or never return: workers of the jobs that can
 * run by it. What listeners hear waits for the handler's end. Most jobs wake nobody, and so notify nothing here.
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
  else if (state === 'delayed' && delayMs !== undefined && isDueSoon(delayMs)) wakeOf(queueName).dueIn = delayMs;
  for (const parent of parents) {
    if (parent.state === 'waiting') wakeOf(parent.queueName).wake = true;
    else if (parent.state === 'delayed') wakeOf(parent.queueName).dueIn = DUE_NOW;
  }
  return [...wakes.values()];
}

/**
 * What became of a job that was settled in a transaction and is not active under that lease any more: by that
 * transaction if it has committed; by the settlement that followed a rollback, when the answer to it was lost; or by
 * somebody else, after the lease had run out. Since a commit anything may have happened to the job.
 */
export async function transactionOutcome(
  engine: Engine,
  held: LeasedJob,
  written: SettledInTransaction,
): Promise<Settled | 'committed' | 'lease lost'> {
  const { queueName, id, createdAt } = held.stored.job;
  const found = await getJob(engine.executor, queueName, id);
  if (found?.job.createdAt.getTime() !== createdAt.getTime()) {
    // Gone, or another one by the same id.
    return (await hasCommitted(engine.executor, written.transaction)) ? 'committed' : 'lease lost';
  }
  // The record and not the transaction's number: a nested one may have been rolled back alone.
  if (found.job.attemptLogs.some((record) => isOf(record, held, written))) return 'committed';
  const { state, cancelledAt } = found.job;
  if (found.lease !== held.stored.lease || state === 'active') return 'lease lost';
  return { state, cancelled: cancelledAt !== null, removed: false };
}

/** Whether a record is of this attempt, and says of it what was settled in the transaction. */
function isOf(
  record: AttemptRecord,
  { stored: { job } }: LeasedJob,
  { settled, settlement }: SettledInTransaction,
): boolean {
  const completed = settled.state === 'completed';
  return (
    record.attempt === job.attemptsMade + 1 &&
    record.startedAt === (settlement.startedAt ?? null) &&
    record.status === (completed ? 'completed' : 'failed') &&
    (completed || settled.cancelled || record.error === settlement.reason)
  );
}

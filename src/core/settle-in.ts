import { randomInt } from 'node:crypto';
import type { DrizzleLike } from '../db/drizzle-like.js';
import { LeaseLostError } from '../model/errors.js';
import { type Engine, METRIC_SHARDS } from '../store/engine.js';
import { getJob } from '../store/jobs.js';
import { type ParentChange, type Settled, settle } from '../store/settle.js';
import type { Held } from './holds.js';
import { type AttemptEnd, prepareSettlement, type SettlementRules } from './settlement.js';

/** What was settled inside a transaction of the handler's, should that commit. */
export interface SettledInTransaction {
  readonly end: AttemptEnd;
  readonly settled: Settled;
  readonly parents: readonly ParentChange[];
}

/**
 * Ends the attempt inside the caller's transaction: result, state and what follows from it commit with the handler's
 * own writes, or not at all. Throws `LeaseLostError` when the job is no longer held: the transaction must roll back.
 */
export async function settleIn(
  engine: Engine,
  transaction: DrizzleLike,
  held: Held,
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
  const { outcomes, parents } = await settle(engine.within(transaction), [settlement], {
    metrics: metrics.enabled,
    // A row of the metrics to itself: nobody shall wait for this transaction because of a counter.
    shard: ownShard(),
    patient: true,
  });
  const [one] = outcomes;
  if (!one) throw new LeaseLostError(held.stored.job.id, held.stored.job.queueName);
  return { end, settled: one, parents };
}

const ownShard = () => randomInt(METRIC_SHARDS, 2 ** 30);

/**
 * What became of a job that was settled in a transaction and is not active any more: by that transaction if it has
 * committed; by the settlement that followed a rollback, when the answer to it was lost; or by somebody else, after
 * the lease had run out.
 */
export async function fateOf(
  engine: Engine,
  held: Held,
  written: SettledInTransaction,
): Promise<Settled | 'committed' | 'lease lost'> {
  const { queueName, id } = held.stored.job;
  const found = await getJob(engine.executor, queueName, id);
  if (!found) return written.settled.removed ? 'committed' : 'lease lost';
  const { state, attemptLogs, cancelledAt } = found.job;
  if (found.lease !== held.stored.lease || state === 'active') return 'lease lost';
  if (attemptLogs.at(-1)?.status === written.end.kind) return 'committed';
  return { state, cancelled: cancelledAt !== null, removed: false };
}

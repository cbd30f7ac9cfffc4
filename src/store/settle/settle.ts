import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import type { JobState } from '../../model/job.js';
import { settleStatement } from './settle-statement.js';
import { allCompleted, encodeBatch, encodeCompleted, type Settlement } from './settlement.js';

export { MAX_ATTEMPT_RECORDS } from './settle-statement.js';
export type { SettleKind, Settlement } from './settlement.js';

export interface Settled {
  /** What the job became; it may differ from what was asked: a cancelled job ends failed. */
  readonly state: JobState;
  readonly cancelled: boolean;
  readonly removed: boolean;
}

/** An ancestor that changed with its children. */
export interface ParentChange {
  readonly queueName: string;
  readonly id: string;
  readonly state: JobState | 'removed';
  readonly reason: string | null;
}

export interface SettleOptions {
  readonly metrics: boolean;
  readonly shard: number;
  /** ms to wait for a row that somebody has locked, 0: as long as it takes. Default: what the transaction says. */
  readonly lockTimeout?: number;
  /** Asks for the number of the transaction. */
  readonly returnXid?: boolean;
}

export interface SettleResult {
  /** One for each settlement, in their order; undefined where the lease was lost: there nothing was changed. */
  readonly outcomes: (Settled | undefined)[];
  readonly parents: ParentChange[];
  /** Of the transaction, where it was asked for and something was settled. */
  readonly transaction: string | undefined;
}

/**
 * Settles a batch.
 *
 * @param parents where the ancestors that changed are noted: also when it rejects, after a part of it has been settled
 */
export async function settle(
  executor: Executor,
  batch: readonly Settlement[],
  options: SettleOptions,
  parents: ParentChange[] = [],
): Promise<SettleResult> {
  const outcomes = new Array<Settled | undefined>(batch.length).fill(undefined);
  let transaction = await settleInto(executor, batch, allCompleted(batch), options, outcomes, parents);
  if (outcomes.includes(undefined)) {
    // Cancelled, or changed (discarded) while this ran so that it matched neither way of ending; or lost.
    transaction = (await settleInto(executor, batch, false, options, outcomes, parents)) ?? transaction;
  }
  return { outcomes, parents, transaction };
}

/** Settles those of a batch that have no outcome yet; answers with the transaction's number, where that was asked for. */
async function settleInto(
  executor: Executor,
  batch: readonly Settlement[],
  completed: boolean,
  { metrics, shard, lockTimeout, returnXid = false }: SettleOptions,
  outcomes: (Settled | undefined)[],
  parents: ParentChange[],
): Promise<string | undefined> {
  const open = batch.flatMap((_, i) => (outcomes[i] ? [] : [i]));
  const asked = open.length === batch.length ? batch : open.map((i) => batch[i] as Settlement);
  const wanted = {
    completed,
    flows: asked.some((s) => s.hasParent),
    metrics,
    removal: asked.some((s) => s.removeCompletedAfter === 0 || s.removeFailedAfter === 0),
    returnXid,
  };
  let transaction: string | undefined;
  const rows = await executor.run(settleStatement(wanted), {
    ...(completed ? encodeCompleted(asked) : { batch: encodeBatch(asked), holders: null }),
    shard,
    patience: lockTimeout ?? null,
  });
  for (const [places, state, cancelled, removed, first, id, reason] of rows as (string | null)[][]) {
    if (places == null) {
      const parent = { queueName: first as string, id: id as string, reason: reason ?? null };
      parents.push({ ...parent, state: state as ParentChange['state'] });
      continue;
    }
    const settled = { state: state as JobState, cancelled: cancelled === 'true', removed: removed === 'true' };
    for (const place of places.split(',')) outcomes[open[Number(place) - 1] as number] = settled;
    transaction = first ?? undefined;
  }
  return transaction;
}

const selectSettled = statement(
  'settled already',
  ['batch'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const asAsked = sql`(case i.kind when 'completed' then ${j.state} = 'completed'
      when 'failed' then ${j.state} = 'failed' and ${j.failedReason} = i.reason
      else ${j.state} in ('waiting', 'delayed') end)`;
    return sql`select ${columns(sql`i.n`, j.state, sql`${j.cancelledAt} is not null`)}
      from rows from (jsonb_to_recordset(${p.batch}::jsonb) as (q text, id text, lease int, kind text, reason text))
        with ordinality as i(q, id, lease, kind, reason, n)
      join ${db.jobs} as ${j} on ${j.queueName} = i.q and ${j.id} = i.id and ${j.lease} = i.lease
      where ${j.state} <> 'active' and (${j.cancelledAt} is not null or ${asAsked})`;
  },
  { repeatable: true },
);

/**
 * Those of a batch that have ended under the very lease they name: a settlement whose answer was lost with its
 * connection has taken effect, and is not found active when it is sent again.
 */
export async function settledAlready(
  executor: Executor,
  batch: readonly Settlement[],
): Promise<(Settled | undefined)[]> {
  const outcomes = new Array<Settled | undefined>(batch.length).fill(undefined);
  const rows = await executor.run(selectSettled, { batch: encodeBatch(batch) });
  for (const [place, state, cancelled] of rows as string[][]) {
    outcomes[Number(place) - 1] = { state: state as JobState, cancelled: cancelled === 'true', removed: false };
  }
  return outcomes;
}

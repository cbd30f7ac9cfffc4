import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { isoTime } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import type { ParentChange } from '../rules/cascade.js';
import { allCompleted, completeStatement, encodeCompleted, isMixed } from './complete.js';
import { settleStatement } from './settle-statement.js';
import { encodeBatch, SETTLEMENT_COLUMNS, type Settlement } from './settlement.js';

export type { SettleKind, Settlement } from './settlement.js';

export interface Settled {
  /** What the job became; it may differ from the settlement: a cancelled job ends failed. */
  readonly state: JobState;
  readonly cancelled: boolean;
  readonly removed: boolean;
}

export interface SettleOptions {
  readonly metrics: boolean;
  readonly shard: number;
  /** ms to wait for a locked row; 0: without limit. Default: the transaction's own `lock_timeout`. */
  readonly lockTimeout?: number;
  /** Asks for the number of the transaction. */
  readonly returnXid?: boolean;
}

export interface SettleResult {
  /** One for each settlement, in their order; undefined where the lease was lost: there nothing was changed. */
  readonly outcomes: (Settled | undefined)[];
  readonly parents: ParentChange[];
  /** The transaction's number, with `returnXid` and when something was settled. */
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
  let transaction: string | undefined;
  for (const pass of passesFor(batch)) {
    if (!outcomes.includes(undefined)) break;
    transaction = (await settleInto(executor, batch, pass, options, outcomes, parents)) ?? transaction;
  }
  return { outcomes, parents, transaction };
}

/** How rows are looked for, one pass after the other, each for those that have no outcome yet. */
type Pass = 'completed, by place' | 'completed, by key' | 'any end';

/**
 * Completions are looked for where their claim left them, then by their keys: a renewal, a log line or a report of
 * progress moves a row. What is left was cancelled, or changed while a statement waited for it, or is lost.
 */
function passesFor(batch: readonly Settlement[]): Pass[] {
  // Twice, because a row that changes while the statement waits for it is in neither of its versions' places.
  if (!allCompleted(batch)) return ['any end', 'any end'];
  return batch.some(({ place }) => place !== undefined)
    ? ['completed, by place', 'completed, by key', 'any end']
    : ['completed, by key', 'any end'];
}

/** Settles those of a batch that have no outcome yet; answers with the transaction's number, with `returnXid`. */
async function settleInto(
  executor: Executor,
  batch: readonly Settlement[],
  pass: Pass,
  { metrics, shard, lockTimeout, returnXid = false }: SettleOptions,
  outcomes: (Settled | undefined)[],
  parents: ParentChange[],
): Promise<string | undefined> {
  const open = batch.flatMap((_, i) => (outcomes[i] ? [] : [i]));
  const input = open.length === batch.length ? batch : open.map((i) => batch[i] as Settlement);
  const shape = {
    flows: input.some((s) => s.hasParent),
    metrics,
    removal: input.some((s) => s.keepCompletedMs === 0 || s.keepFailedMs === 0),
    returnXid,
  };
  const common = { shard, lockTimeout: lockTimeout ?? null };
  const mixed = isMixed(input);
  const rows =
    pass === 'any end'
      ? await executor.run(settleStatement(shape), { batch: encodeBatch(input), ...common })
      : await executor.run(completeStatement({ ...shape, mixed }), {
          ...encodeCompleted(input, mixed, pass === 'completed, by key'),
          ...common,
        });
  let transaction: string | undefined;
  for (const [positions, state, cancelled, removed, first, id, parentState, reason] of rows as (string | null)[][]) {
    if (positions == null) {
      const parent = { queueName: first as string, id: id as string, reason: reason ?? null };
      parents.push({ ...parent, state: parentState as ParentChange['state'] });
      continue;
    }
    const settled = { state: state as JobState, cancelled: cancelled === 'true', removed: removed === 'true' };
    for (const position of positions.split(',')) outcomes[open[Number(position) - 1] as number] = settled;
    transaction = first ?? undefined;
  }
  return transaction;
}

const selectSettled = statement(
  'settled already',
  ['batch'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    // A crash of the server may undo a claim. The next one then has the same number, but began at another time.
    const sameAttempt = sql`(i.started_at is null or ${isoTime(j.processedAt)} = i.started_at)`;
    const asIntended = sql`(case i.kind when 'completed' then ${j.state} = 'completed' and ${sameAttempt}
      when 'failed' then ${j.state} = 'failed' and ${j.failedReason} = i.reason and ${sameAttempt}
      else ${j.state} in ('waiting', 'delayed') end)`;
    return sql`select ${columns(sql`i.ordinality`, j.state, sql`${j.cancelledAt} is not null`)}
      from rows from (jsonb_to_recordset(${p.batch}::jsonb) as (${sql.raw(SETTLEMENT_COLUMNS)})) with ordinality i
      join ${db.jobs} as ${j} on ${j.queueName} = i.queue_name and ${j.id} = i.id and ${j.lease} = i.lease
      where ${j.state} <> 'active' and (${j.cancelledAt} is not null or ${asIntended})`;
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

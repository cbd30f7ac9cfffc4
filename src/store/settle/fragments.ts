import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Cte } from '../../db/cte.js';
import { columns, OPTIONAL } from '../../db/statement.js';
import type { Tables } from '../../db/tables.js';
import { cascadeOf, selectParents } from '../rules/cascade.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { type OutcomeColumn, outcomesWith } from '../rules/outcomes.js';

/** What `settle` and `complete` have in common: their variants, what follows from an outcome, their answer. */

export const SETTLE_AXES = { flows: OPTIONAL, metrics: OPTIONAL, removal: OPTIONAL, returnXid: OPTIONAL } as const;

export interface SettleShape {
  /** Some of the jobs have parents. */
  readonly flows: boolean;
  readonly metrics: boolean;
  /** Some of the jobs are deleted at once. */
  readonly removal: boolean;
  /** The answer names its transaction, so that a later query can tell whether it committed. */
  readonly returnXid: boolean;
}

export const settleName = <S extends SettleShape>(name: string, axes: Record<keyof S, unknown>, shape: S): string =>
  [name, ...Object.keys(axes).filter((axis) => shape[axis as keyof S])].join(' ');

/**
 * A condition that is true, and sets how long the statement waits for a row that another transaction has locked. As a
 * sub-select it is evaluated once, not for each row.
 *
 * @param lockTimeout ms as text; null: what the transaction says
 */
export const withLockTimeout = (lockTimeout: SQLWrapper): SQL =>
  sql`(select case when ${lockTimeout} is null then true
    else set_config('lock_timeout', ${lockTimeout}, true) is not null end)`;

/** What became of each job, with its place in the batch. */
export const outcomes = outcomesWith(['position', 'cancelled', 'removed']);

/** The number of the statement's transaction, where it is asked for. */
export const ofTransaction = ({ returnXid }: SettleShape): SQL => (returnXid ? sql`txid_current()` : sql`null`);

/** The rest of a settling statement, after `settled` and `deleted`: outcomes, parents, metrics, the answer. */
export function settleTail(db: Tables, shape: SettleShape, shard: SQLWrapper): SQL {
  const { flows, metrics, removal } = shape;
  const all: Cte<OutcomeColumn | 'position' | 'cancelled' | 'removed'> = outcomes;
  const { position, state, cancelled, removed } = all;
  const none = sql`null`;
  return sql`
    ${all.as(sql`select * from settled${removal ? sql` union all select * from deleted` : sql``}`)}
    ${flows ? sql`, ${cascadeOf(db, all)}` : sql``}
    ${metrics ? sql`, ${countMetrics(db, all, shard)}` : sql``}
    select ${columns(sql`string_agg(${position}::text, ',')`, state, cancelled, removed, ofTransaction(shape), none, none, none)}
    from ${all.table} group by ${state}, ${cancelled}, ${removed}
    ${flows ? sql`union all select null, null, null, null, parent.* from (${selectParents}) parent` : sql``}`;
}

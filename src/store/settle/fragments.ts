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

export const settleName = (name: string, shape: SettleShape): string =>
  [name, ...Object.keys(SETTLE_AXES).filter((axis) => shape[axis as keyof SettleShape])].join(' ');

/**
 * A condition that is true, and sets how long the statement waits for a row that another transaction has locked.
 *
 * @param lockTimeout ms as text; null: what the transaction says
 */
export const withLockTimeout = (lockTimeout: SQLWrapper): SQL =>
  sql`case when ${lockTimeout} is null then true else set_config('lock_timeout', ${lockTimeout}, true) is not null end`;

/** What became of each job, with its place in the batch. */
export const outcomes = outcomesWith(['position', 'cancelled', 'removed']);

/** The rest of a settling statement, after `settled` and `deleted`: outcomes, parents, metrics, the answer. */
export function settleTail(db: Tables, { flows, metrics, removal, returnXid }: SettleShape, shard: SQLWrapper): SQL {
  const all: Cte<OutcomeColumn | 'position' | 'cancelled' | 'removed'> = outcomes;
  const { position, state, cancelled, removed } = all;
  const none = sql`null`;
  const xid = returnXid ? sql`txid_current()` : none;
  return sql`
    ${all.as(sql`select * from settled${removal ? sql` union all select * from deleted` : sql``}`)}
    ${flows ? sql`, ${cascadeOf(db, all)}` : sql``}
    ${metrics ? sql`, ${countMetrics(db, all, shard)}` : sql``}
    select ${columns(sql`string_agg(${position}::text, ',')`, state, cancelled, removed, xid, none, none, none)}
    from ${all.table} group by ${state}, ${cancelled}, ${removed}
    ${flows ? sql`union all select null, null, null, null, parent.* from (${selectParents}) parent` : sql``}`;
}

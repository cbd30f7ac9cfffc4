import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { bare, type Jobs, type Tables } from '../../db/tables.js';
import { statementTime } from '../../db/time.js';

/** The assignments of parent `p` when `ended` of its children have ended: with the last of them it can run. */
export function countDown(db: Tables, p: Jobs, ended: SQLWrapper): SQL {
  const col = bare(db.jobs);
  const delayed = sql`${p.delayUntil} > ${statementTime}`;
  return sql`${col.pendingChildrenCount} = greatest(0, ${p.pendingChildrenCount} - ${ended}),
    ${col.state} = case when ${p.pendingChildrenCount} > ${ended} then ${p.state}
      when ${delayed} then 'delayed' else 'waiting' end,
    ${col.delayUntil} = case when ${delayed} then ${p.delayUntil} end`;
}

/** `failedReason` of a parent that fails with its child. */
export const childFailed = (reason: SQLWrapper): SQL => sql`'Child failed: ' || ${reason}`;

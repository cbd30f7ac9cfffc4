import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { heldByAnother, retryOnKeyConflict } from '../rules/deduplication.js';
import { type ChangeAnswer, readAnswer } from './change.js';

/**
 * A failed job starts over. Its children are locked first, then the job, then its parent: as everywhere, from the
 * bottom up. So a child that ends just now has ended before this counts, or finds its parent waiting afterwards; and a
 * parent that waits for its children again waits for this one too.
 */
const startOver = statement('retry job', ['queue', 'id', 'drop'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const c = alias(db.jobs, 'c');
  const u = alias(db.jobs, 'u');
  const col = bare(db.jobs);
  const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  const unfinished = sql`(select count(*)::int from kids where state not in ('completed', 'failed'))`;
  const cleared: SQL[] = [
    col.returnvalue,
    col.failedReason,
    col.failedAt,
    col.completedAt,
    col.processedAt,
    col.cancelledAt,
    col.delayUntil,
    col.lockUntil,
    col.lockedBy,
    col.removeAt,
  ].map((column) => sql`${column} = null`);
  const zeroed = [col.attemptsMade, col.progress, col.stalledCount].map((column) => sql`${column} = 0`);
  return sql`
    with kids as materialized (
      select ${c.state} as state from ${db.jobs} as ${c}
      where ${c.parentId} = ${p.id} and ${c.parentQueueName} = ${p.queue}
      order by ${c.queueName}, ${c.id} for update),
    seen as materialized (
      select ${j.state} as state, ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id
      from ${db.jobs} as ${j} where ${own} and (select count(*) from kids) >= 0 for update of j),
    above as materialized (
      select ${u.queueName} as q, ${u.id} as id, ${u.state} as state from seen join ${db.jobs} as ${u}
        on ${u.queueName} = seen.parent_q and ${u.id} = seen.parent_id
      where seen.state = 'failed' for update of u),
    changed as (
      update ${db.jobs} as ${j} set ${sql.join([...zeroed, ...cleared], sql`, `)},
        ${col.state} = case when ${unfinished} > 0 then 'waiting-children' else 'waiting' end,
        ${col.pendingChildrenCount} = ${unfinished},
        ${col.stacktrace} = '[]'::jsonb, ${col.discarded} = false, ${col.seq} = ${db.nextSeq},
        ${col.deduplicationKey} = case when ${p.drop} is not null or ${heldByAnother(db, j.deduplicationKey)}
          then null else ${j.deduplicationKey} end
      from seen where ${own} and seen.state = 'failed' returning ${j.state} as state),
    raised as (
      update ${db.jobs} as ${u} set ${col.pendingChildrenCount} = ${u.pendingChildrenCount} + 1
      from above where ${u.queueName} = above.q and ${u.id} = above.id and above.state = 'waiting-children')
    select ${columns(
      sql`'job'`,
      sql`seen.state`,
      sql`changed.state is not null`,
      sql`coalesce(changed.state, seen.state)`,
      sql`null`,
    )} from seen left join changed on true`;
});

/**
 * Starts a failed job over: it waits, behind the others of its priority, or for its children that have not ended. A
 * deduplication key that somebody else holds by now is given up.
 */
export async function retryOne(executor: Executor, queueName: string, id: string): Promise<ChangeAnswer> {
  return readAnswer(await retryOnKeyConflict((drop) => executor.run(startOver, { queue: queueName, id, drop })));
}

import { type SQL, sql } from 'drizzle-orm';
import type { Relations } from '../db/relation.js';
import { now } from '../db/statement.js';

/**
 * What follows for the ancestors when jobs end or vanish, as CTEs of the statement that ends them: all or nothing.
 *
 * The statement provides a CTE `ended(q, id, parent_q, parent_id, failed, reason, value, removed)`: jobs that had not
 * ended before it. A parent counts its unfinished children: each of them is counted down exactly once, in the
 * statement in which it ends. A child that fails, is cancelled or removed is treated by its parent's policy: `fail`
 * and `remove` end the parent, which then is an ended child of its own parent, up to the root; `ignore` counts it
 * down.
 *
 * Concurrency: children end first, then ancestors are locked in the order of (queue, id). `for update` reads a locked
 * row in its newest version, so the decision is made on what the row is, not on what it was when the statement began.
 * Without a failure only the direct parent is locked: siblings' children do not wait for each other at the root.
 *
 * Adds the CTE `parents(q, id, state)` of the ancestors whose state changed; state 'removed' for deleted ones.
 */
export function cascade(db: Relations): SQL {
  const p = db.jobs.of('p');
  const { col } = db.jobs;
  const policy = sql`coalesce(${p.opts} ->> 'failParentOnChildFailure', 'fail')`;
  const keepFailed = sql`${p.opts} -> 'removeOnFail'`;
  return sql`
    lineage as (
      with recursive up(q, id, failed) as (
        select parent_q, parent_id, bool_or(failed) from ended where parent_id is not null group by 1, 2
        union
        select ${p.parentQueueName}, ${p.parentId}, true from up join ${db.jobs.as('p')}
          on ${p.queueName} = up.q and ${p.id} = up.id
        where up.failed and ${p.parentId} is not null)
      select distinct q, id from up),
    locked as materialized (
      select ${p.queueName} as q, ${p.id} as id, ${p.parentQueueName} as parent_q, ${p.parentId} as parent_id,
        ${policy} as policy, coalesce(${keepFailed} = 'true'::jsonb, false) as drop_failed,
        case when jsonb_typeof(${keepFailed}) = 'number' then (${keepFailed})::text::float8 end as keep_ms
      from lineage join ${db.jobs.as('p')} on ${p.queueName} = lineage.q and ${p.id} = lineage.id
      where ${p.state} = 'waiting-children'
      order by ${p.queueName}, ${p.id} for update of p),
    doomed as materialized (
      with recursive d(q, id, parent_q, parent_id, policy, drop_failed, keep_ms, reason, depth) as (
        select l.q, l.id, l.parent_q, l.parent_id, l.policy, l.drop_failed, l.keep_ms, 'Child failed: ' || e.reason, 1
        from locked l join ended e on e.parent_q = l.q and e.parent_id = l.id and e.failed
        where l.policy <> 'ignore'
        union
        select l.q, l.id, l.parent_q, l.parent_id, l.policy, l.drop_failed, l.keep_ms, 'Child failed: ' || d.reason, d.depth + 1
        from d join locked l on l.q = d.parent_q and l.id = d.parent_id
        where l.policy <> 'ignore' and d.depth < 100)
      select distinct on (q, id) * from d order by q, id, reason),
    tally as materialized (
      select c.parent_q as q, c.parent_id as id, count(*)::int as n,
        jsonb_object_agg(c.id, c.value) filter (where c.removed and not c.failed) as kept
      from (
        select parent_q, parent_id, id, value, removed, failed from ended
        union all
        select parent_q, parent_id, id, null, false, true from doomed) c
      join locked l on l.q = c.parent_q and l.id = c.parent_id
      where not exists (select 1 from doomed x where x.q = l.q and x.id = l.id)
      group by 1, 2),
    doomed_failed as (
      update ${db.jobs.as('p')} set ${col.state} = 'failed', ${col.failedAt} = ${now}, ${col.failedReason} = d.reason,
        ${col.removeAt} = ${now} + d.keep_ms * interval '1 millisecond'
      from doomed d where ${p.queueName} = d.q and ${p.id} = d.id and ${p.state} = 'waiting-children'
        and d.policy <> 'remove' and not d.drop_failed
      returning ${p.queueName} as q, ${p.id} as id, 'failed' as state, d.reason),
    doomed_removed as (
      delete from ${db.jobs.as('p')} using doomed d
      where ${p.queueName} = d.q and ${p.id} = d.id and ${p.state} = 'waiting-children'
        and (d.policy = 'remove' or d.drop_failed)
      returning ${p.queueName} as q, ${p.id} as id, 'removed' as state, d.reason),
    counted as (
      update ${db.jobs.as('p')} set
        ${col.pendingChildrenCount} = greatest(0, ${p.pendingChildrenCount} - t.n),
        ${col.childrenValues} = case when t.kept is null then ${p.childrenValues}
          else coalesce(${p.childrenValues}, '{}'::jsonb) || t.kept end,
        ${col.state} = case when ${p.pendingChildrenCount} > t.n then ${p.state}
          when ${p.delayUntil} > now() then 'delayed' else 'waiting' end
      from tally t where ${p.queueName} = t.q and ${p.id} = t.id and ${p.state} = 'waiting-children'
      returning ${p.queueName} as q, ${p.id} as id, ${p.state} as state, null::text as reason),
    parents as (
      select * from doomed_failed union all select * from doomed_removed
      union all select * from counted where state <> 'waiting-children')`;
}

import { type SQL, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { now, statementTime } from '../../db/time.js';

/**
 * What follows for the ancestors when jobs end or vanish, as CTEs of the statement that ends them: all or nothing.
 *
 * The statement provides a CTE `ended(q, id, parent_q, parent_id, failed, reason, value, removed)`: jobs that had not
 * ended before it. A parent counts its unfinished children: each of them is counted down exactly once, in the
 * statement in which it ends. A child that fails, is cancelled or removed is treated by its parent's policy: `fail`
 * and `remove` end the parent, which then is an ended child of its own parent, up to the root; `ignore` counts it
 * down. The value of a child that will not be there to be asked (`removed`) is kept with the parent.
 *
 * Concurrency: every statement locks children before parents, and here the deepest ancestors first, then by (queue,
 * id): no two can wait for each other crosswise. `for update` reads a locked row in its newest version, but finds it
 * by the statement's snapshot: so the state is looked at after the lock only. (A parent that is retried while its last
 * child ends is failed in the snapshot of the child's statement, and waits for children by the time it is locked.)
 * Without a failure only the direct parent is locked: siblings' children do not wait for each other at the root.
 *
 * Adds the CTE `parents(q, id, state, reason)` of the ancestors whose state changed; state 'removed' for deleted ones.
 */
export function cascade(db: Tables): SQL {
  const p = alias(db.jobs, 'p');
  const col = bare(db.jobs);
  const policy = sql`coalesce(${p.opts} ->> 'failParentOnChildFailure', 'fail')`;
  const keepFailed = sql`${p.opts} -> 'removeOnFail'`;
  const parentKey = sql`jsonb_build_array(${p.parentQueueName}, ${p.parentId})`;
  // As a CASE: else all of the index of jobs with parents may be read where the planner has not heard of them yet.
  const hasParent = sql`(case when ${p.parentId} is null then false else true end)`;
  return sql`
    lineage as (
      with recursive up(q, id, distance, path, failed, n, reason, kept) as (
        select parent_q, parent_id, 1, array[jsonb_build_array(parent_q, parent_id)], bool_or(failed), count(*)::int,
          min(coalesce(reason, 'no reason given')) filter (where failed),
          jsonb_object_agg(id, value) filter (where removed and not failed)
        from ended where parent_id is not null group by 1, 2
        union all
        select ${p.parentQueueName}, ${p.parentId}, up.distance + 1, up.path || ${parentKey}, up.failed, 0, null, null
        from up join ${db.jobs} as ${p} on ${p.queueName} = up.q and ${p.id} = up.id
        where ${hasParent} and not (${parentKey} = any(up.path)))
      select q, id, max(top - distance) as depth, sum(n)::int as n, min(reason) as reason,
        (array_agg(kept) filter (where kept is not null))[1] as kept
      from (select up.*, max(distance) over (partition by path[1]) as top from up) way
      group by 1, 2 having bool_or(failed or distance = 1)),
    locked as materialized (
      select ${p.queueName} as q, ${p.id} as id, ${p.parentQueueName} as parent_q, ${p.parentId} as parent_id,
        ${p.state} as state, ${policy} as policy, coalesce(${keepFailed} = 'true'::jsonb, false) as drop_failed,
        case when jsonb_typeof(${keepFailed}) = 'number' then (${keepFailed})::text::float8 end as keep_ms,
        lineage.n, lineage.reason, lineage.kept
      from lineage join ${db.jobs} as ${p} on ${p.queueName} = lineage.q and ${p.id} = lineage.id
      order by lineage.depth desc, ${p.queueName}, ${p.id} for update of p),
    expectant as materialized (
      select l.*, jsonb_build_array(l.q, l.id) as key from locked l where l.state = 'waiting-children'),
    doomed as materialized (
      with recursive d(q, id, parent_q, parent_id, policy, drop_failed, keep_ms, reason, path) as (
        select q, id, parent_q, parent_id, policy, drop_failed, keep_ms, 'Child failed: ' || reason, array[key]
        from expectant where reason is not null and policy <> 'ignore'
        union all
        select x.q, x.id, x.parent_q, x.parent_id, x.policy, x.drop_failed, x.keep_ms,
          'Child failed: ' || d.reason, d.path || x.key
        from d join expectant x on x.q = d.parent_q and x.id = d.parent_id
        where x.policy <> 'ignore' and not (x.key = any(d.path)))
      select distinct on (q, id) * from d order by q, id, cardinality(path), reason),
    tally as materialized (
      select x.q, x.id, x.n + coalesce(d.n, 0) as n, x.kept
      from expectant x
      left join (select parent_q, parent_id, count(*)::int as n from doomed group by 1, 2) d
        on d.parent_q = x.q and d.parent_id = x.id
      where x.n + coalesce(d.n, 0) > 0
        and not exists (select 1 from doomed gone where gone.q = x.q and gone.id = x.id)),
    doomed_failed as (
      update ${db.jobs} as ${p} set ${col.state} = 'failed', ${col.failedAt} = ${now}, ${col.failedReason} = d.reason,
        ${col.delayUntil} = null, ${col.removeAt} = ${now} + d.keep_ms * interval '1 millisecond'
      from doomed d where ${p.queueName} = d.q and ${p.id} = d.id and d.policy <> 'remove' and not d.drop_failed
      returning ${p.queueName} as q, ${p.id} as id, 'failed' as state, d.reason),
    doomed_removed as (
      delete from ${db.jobs} as ${p} using doomed d
      where ${p.queueName} = d.q and ${p.id} = d.id and (d.policy = 'remove' or d.drop_failed)
      returning ${p.queueName} as q, ${p.id} as id, 'removed' as state, d.reason),
    counted as (
      update ${db.jobs} as ${p} set
        ${col.pendingChildrenCount} = greatest(0, ${p.pendingChildrenCount} - t.n),
        ${col.childrenValues} = case when t.kept is null then ${p.childrenValues}
          else coalesce(${p.childrenValues}, '{}'::jsonb) || t.kept end,
        ${col.state} = case when ${p.pendingChildrenCount} > t.n then ${p.state}
          when ${p.delayUntil} > ${statementTime} then 'delayed' else 'waiting' end,
        ${col.delayUntil} = case when ${p.delayUntil} > ${statementTime} then ${p.delayUntil} end
      from tally t where ${p.queueName} = t.q and ${p.id} = t.id
      returning ${p.queueName} as q, ${p.id} as id, ${p.state} as state, null::text as reason),
    parents as (
      select * from doomed_failed union all select * from doomed_removed
      union all select * from counted where state <> 'waiting-children')`;
}

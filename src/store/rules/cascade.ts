import { type SQL, sql } from 'drizzle-orm';
import { type Cte, cte } from '../../db/cte.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { hasParent } from './children-values.js';
import type { OutcomeColumn } from './outcomes.js';
import { childFailed, countDown } from './parents.js';
import { deletedAtOnce, expiresAt, keepMs } from './retention.js';
import { ended as isEnded } from './states.js';

/** An ancestor that changed with its children. */
export interface ParentChange {
  readonly queueName: string;
  readonly id: string;
  readonly state: JobState | 'removed';
  readonly reason: string | null;
}

/** Children that end with the statement: the input of `cascade`. */
export const endedChildren = cte('ended_children', [
  'id',
  'parentQueueName',
  'parentId',
  'failed',
  'reason',
  'returnvalue',
  'expires',
]);

/** Ancestors whose state changed: the output of `cascade`; state 'removed' for deleted ones. */
export const parents = cte('parents', ['queueName', 'id', 'state', 'reason']);

/** The rows of a statement's answer that tell of `parents`, in the order of `ParentChange`. */
export const selectParents: SQL = sql`select ${parents.queueName}, ${parents.id}, ${parents.state}, ${parents.reason}
  from ${parents.table}`;

/** The cascade of a statement with the CTE `outcomes`. */
export function cascadeOf(db: Tables, outcomes: Cte<OutcomeColumn>): SQL {
  const children = endedChildren.as(sql`
    select ${outcomes.id}, ${outcomes.parentQueueName}, ${outcomes.parentId}, ${outcomes.state} = 'failed',
      ${outcomes.reason}, ${outcomes.returnvalue}, ${outcomes.expires}
    from ${outcomes.table} where ${isEnded(outcomes.state)} and ${outcomes.parentId} is not null`);
  return sql`${children}, ${cascade(db)}`;
}

/**
 * What follows for the ancestors when jobs end or vanish, as CTEs of the statement that ends them: all or nothing.
 *
 * The statement provides `ended_children`: jobs with a parent that had not ended before it. A parent counts its
 * unfinished children: each of them is counted down exactly once, in the statement in which it ends. A child that
 * fails, is cancelled or removed is treated by its parent's policy: `fail` and `remove` end the parent, which then is
 * an ended child of its own parent, up to the root; `ignore` counts it down. The value of a child whose row will not
 * be there to be read (`expires`) is kept with the parent.
 *
 * Concurrency: every statement locks children before parents, and here the deepest ancestors first, then by (queue,
 * id): so no two statements deadlock. `for update` reads a locked row in its newest version, but finds it by the
 * statement's snapshot: so the state is decided on after the lock only. (A parent that is retried while its last child
 * ends is failed in the snapshot of the child's statement, and waits for children by the time it is locked.) Without a
 * failure only the direct parent is locked: siblings' children do not wait for each other at the root.
 */
export function cascade(db: Tables): SQL {
  return sql`${ancestors(db)}, ${lockedAncestors(db)}, ${failingParents()}, ${childCounts()}, ${changedParents(db)}`;
}

/** Every ancestor that the ended children may concern, how deep it is, and what its own children contribute. */
function ancestors(db: Tables): SQL {
  const p = alias(db.jobs, 'p');
  const c = endedChildren;
  const parentKey = sql`jsonb_build_array(${p.parentQueueName}, ${p.parentId})`;
  return sql`
    ancestors as (
      with recursive paths(queue_name, id, distance, path, failed, children, reason, kept_values) as (
        select ${c.parentQueueName}, ${c.parentId}, 1,
          array[jsonb_build_array(${c.parentQueueName}, ${c.parentId})], bool_or(${c.failed}), count(*)::int,
          min(coalesce(${c.reason}, 'no reason given')) filter (where ${c.failed}),
          jsonb_object_agg(${c.id}, ${c.returnvalue}) filter (where ${c.expires} and not ${c.failed})
        from ${c.table} group by 1, 2
        union all
        select ${p.parentQueueName}, ${p.parentId}, paths.distance + 1, paths.path || ${parentKey}, paths.failed, 0, null, null
        from paths join ${db.jobs} as ${p} on ${p.queueName} = paths.queue_name and ${p.id} = paths.id
        where ${hasParent(p)} and not (${parentKey} = any(paths.path)))
      select queue_name, id, max(top - distance) as depth, sum(children)::int as children, min(reason) as reason,
        (array_agg(kept_values) filter (where kept_values is not null))[1] as kept_values
      from (select paths.*, max(distance) over (partition by path[1]) as top from paths) deepest_first
      group by 1, 2 having bool_or(failed or distance = 1))`;
}

/** The ancestors, locked, as they are now; and those of them that still wait for children. */
function lockedAncestors(db: Tables): SQL {
  const p = alias(db.jobs, 'p');
  return sql`
    locked_ancestors as materialized (
      select ${p.queueName} as queue_name, ${p.id} as id, ${p.parentQueueName} as parent_queue_name,
        ${p.parentId} as parent_id, ${p.state} as state,
        coalesce(${p.opts} ->> 'failParentOnChildFailure', 'fail') as policy, ${keepMs(p.opts, 'failed')} as keep_ms,
        ancestors.children, ancestors.reason, ancestors.kept_values
      from ancestors join ${db.jobs} as ${p} on ${p.queueName} = ancestors.queue_name and ${p.id} = ancestors.id
      order by ancestors.depth desc, ${p.queueName}, ${p.id} for update of p),
    waiting_parents as materialized (
      select a.*, jsonb_build_array(a.queue_name, a.id) as key from locked_ancestors a
      where a.state = 'waiting-children')`;
}

/** Waiting parents that fail with a child, and theirs that fail with them, each with the reason of the shortest path. */
function failingParents(): SQL {
  const columns = sql.raw('w.queue_name, w.id, w.parent_queue_name, w.parent_id, w.policy, w.keep_ms');
  return sql`
    failing_parents as materialized (
      with recursive failing(queue_name, id, parent_queue_name, parent_id, policy, keep_ms, reason, path) as (
        select ${columns}, ${childFailed(sql`w.reason`)}, array[w.key]
        from waiting_parents w where w.reason is not null and w.policy <> 'ignore'
        union all
        select ${columns}, ${childFailed(sql`failing.reason`)}, failing.path || w.key
        from failing join waiting_parents w on w.queue_name = failing.parent_queue_name and w.id = failing.parent_id
        where w.policy <> 'ignore' and not (w.key = any(failing.path)))
      select distinct on (queue_name, id) * from failing order by queue_name, id, cardinality(path), reason)`;
}

/** Waiting parents that go on waiting, or can run now: how many of their children end with the statement. */
function childCounts(): SQL {
  return sql`
    child_counts as materialized (
      select w.queue_name, w.id, w.children + coalesce(f.children, 0) as ended, w.kept_values
      from waiting_parents w
      left join (
        select parent_queue_name, parent_id, count(*)::int as children from failing_parents group by 1, 2) f
        on f.parent_queue_name = w.queue_name and f.parent_id = w.id
      where w.children + coalesce(f.children, 0) > 0
        and not exists (select 1 from failing_parents own where own.queue_name = w.queue_name and own.id = w.id))`;
}

function changedParents(db: Tables): SQL {
  const p = alias(db.jobs, 'p');
  const col = bare(db.jobs);
  const deleted = sql`(f.policy = 'remove' or ${deletedAtOnce(sql`f.keep_ms`)})`;
  const same = sql`${p.queueName} = f.queue_name and ${p.id} = f.id`;
  return sql`
    failed_parents as (
      update ${db.jobs} as ${p} set ${col.state} = 'failed', ${col.failedAt} = ${now}, ${col.failedReason} = f.reason,
        ${col.delayUntil} = null, ${col.removeAt} = ${expiresAt(sql`f.keep_ms`)}
      from failing_parents f where ${same} and not ${deleted}
      returning ${p.queueName}, ${p.id}, 'failed' as state, f.reason),
    deleted_parents as (
      delete from ${db.jobs} as ${p} using failing_parents f where ${same} and ${deleted}
      returning ${p.queueName}, ${p.id}, 'removed' as state, f.reason),
    counted_parents as (
      update ${db.jobs} as ${p} set ${countDown(db, p, sql`c.ended`)},
        ${col.childrenValues} = case when c.kept_values is null then ${p.childrenValues}
          else coalesce(${p.childrenValues}, '{}'::jsonb) || c.kept_values end
      from child_counts c where ${p.queueName} = c.queue_name and ${p.id} = c.id
      returning ${p.queueName}, ${p.id}, ${p.state} as state, null::text as reason),
    ${parents.inline(sql`
      select * from failed_parents union all select * from deleted_parents
      union all select * from counted_parents where state <> 'waiting-children'`)}`;
}

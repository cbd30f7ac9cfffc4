import { type SQL, sql } from 'drizzle-orm';
import { alias, type Jobs, type Tables } from '../../../db/tables.js';
import { inState, live } from '../../rules/states.js';
import { invariant, told } from './invariant.js';

/** Children of `p` as a scalar subquery's `from … where …`. */
function childrenOf(db: Tables, p: Jobs): SQL {
  const c = alias(db.jobs, 'c');
  return sql`from ${db.jobs} as ${c} where ${c.parentId} = ${p.id} and ${c.parentQueueName} = ${p.queueName}`;
}

/** What parents and children must agree on. */
export const FLOW_INVARIANTS = [
  // Each child is counted down in the statement in which it ends. A parent without any child's row or id was made by a
  // caller that counts by `notifyChildCompleted` alone.
  invariant('children-miscounted', (db) => {
    const p = alias(db.jobs, 'p');
    const c = alias(db.jobs, 'c');
    const unended = sql`(select count(*) ${childrenOf(db, p)} and ${live(c.state)})`;
    return {
      ...{ queue: p.queueName, id: p.id },
      detail: told({ pending_children_count: p.pendingChildrenCount, 'unended children': unended }),
      rows: sql`from ${db.jobs} as ${p} where ${inState(p, 'waiting-children')}
        and (${p.childrenIds} <> '[]'::jsonb or exists (select 1 ${childrenOf(db, p)}))
        and ${p.pendingChildrenCount} <> ${unended}`,
    };
  }),
  // Nothing would ever make it runnable.
  invariant('parent-waits-for-none', (db) => {
    const p = alias(db.jobs, 'p');
    return {
      ...{ queue: p.queueName, id: p.id },
      detail: told({ pending_children_count: p.pendingChildrenCount }),
      rows: sql`from ${db.jobs} as ${p} where ${inState(p, 'waiting-children')} and ${p.pendingChildrenCount} = 0`,
    };
  }),
  invariant('half-a-parent', (db) => {
    const j = alias(db.jobs, 'j');
    return {
      ...{ queue: j.queueName, id: j.id },
      detail: told({ parent_id: j.parentId, parent_queue_name: j.parentQueueName }),
      rows: sql`from ${db.jobs} as ${j} where (${j.parentId} is null) <> (${j.parentQueueName} is null)`,
    };
  }),
] as const;

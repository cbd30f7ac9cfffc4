import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, type Slots, statement } from '../../db/statement.js';
import { alias, bare, literal, type Tables } from '../../db/tables.js';
import { now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { cascade, endedChildren, type ParentChange, selectParents } from '../rules/cascade.js';
import { deletedJob, deletedJobs, keptValues } from '../rules/children-values.js';
import { heldIfLeased, LEASE_PARAMS, type Lease, leaseValues } from '../rules/lease.js';
import { outcomeOf, outcomesWith } from '../rules/outcomes.js';
import { cancelledReason, removedReason } from '../rules/reasons.js';
import { deletedAtOnce, expiresAt, keepMs } from '../rules/retention.js';
import { live } from '../rules/states.js';

/** A job and all its descendants, in whatever queues, changed in one statement. */

/** Generations that are followed: more than any flow has; it ends a circle that was made by hand. */
const MAX_DEPTH = 100;

/** A job of the family that was changed. */
export interface Member {
  readonly queueName: string;
  readonly id: string;
  /** `signalled`: it is active, and its worker will end it as cancelled. */
  readonly became: 'ended' | 'signalled' | 'removed';
}

export interface FamilyAnswer {
  readonly members: readonly Member[];
  /** Ancestors of the job that changed with it. */
  readonly parents: readonly ParentChange[];
}

/**
 * The CTEs `members(queue_name, id, distance)` and `found(place, is_root, state, held)`: the members that there are,
 * locked and as they are now. Deepest first, then by (queue, id), as `cascade` locks the ancestors that follow.
 */
function family(db: Tables, p: Slots<'queue' | 'id'>, held: SQL): SQL {
  const j = alias(db.jobs, 'j');
  const c = alias(db.jobs, 'c');
  return sql`
    tree(queue_name, id, distance) as (
      select ${p.queue}, ${p.id}, 0
      union
      select ${c.queueName}, ${c.id}, tree.distance + 1
      from tree join ${db.jobs} as ${c} on ${c.parentId} = tree.id and ${c.parentQueueName} = tree.queue_name
      where tree.distance < ${literal(MAX_DEPTH)}),
    members as materialized (select queue_name, id, max(distance) as distance from tree group by 1, 2),
    found as materialized (
      select ${j}.ctid as place, ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} as is_root, ${j.state} as state,
        ${held} as held
      from members m join ${db.jobs} as ${j} on ${j.queueName} = m.queue_name and ${j.id} = m.id
      order by m.distance desc, ${j.queueName}, ${j.id} for update of j)`;
}

/**
 * Only the job itself has a parent that is to be treated by its policy: those of its descendants are in the family, and
 * either end with the statement or do not wait for children.
 */
const ofOthers = (parentQueue: SQL, parentId: SQL): SQL => sql`${parentId} is not null
  and not exists (select 1 from members m where m.queue_name = ${parentQueue} and m.id = ${parentId})`;

const answer = (members: SQL): SQL => sql`
  select ${columns(sql`'member'`, sql`x.queue`, sql`x.id`, sql`x.became`, sql`null`)} from (${members}) x
  union all select 'parent', parent.* from (${selectParents}) parent`;

/** Marks active jobs as cancelled. */
function signalled(db: Tables, where: SQL): SQL {
  const j = alias(db.jobs, 'j');
  return sql`signalled as (
    update ${db.jobs} as ${j} set ${markCancelled(db)} from found
    where ${j}.ctid = found.place and found.state = 'active' and ${where}
    returning ${j.queueName} as queue, ${j.id} as id)`;
}

const markCancelled = (db: Tables): SQL =>
  sql`${bare(db.jobs).cancelledAt} = coalesce(${alias(db.jobs, 'j').cancelledAt}, ${now})`;

const outcomes = outcomesWith([]);

const cancel = statement('cancel family', ['queue', 'id'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const keep = keepMs(j.opts, 'failed');
  const deletes = deletedAtOnce(keep);
  const ends = sql`${j}.ctid = found.place and ${live(sql`found.state`)} and found.state <> 'active'`;
  const outcome = (expires: SQL) =>
    outcomeOf(j, { state: sql`'failed'`, reason: sql`${cancelledReason}::text`, expires });
  const o = outcomes;
  return sql`
    with recursive ${family(db, p, sql`true`)},
    ${signalled(db, sql`true`)},
    failed as (
      update ${db.jobs} as ${j} set ${col.state} = 'failed', ${col.failedAt} = ${now},
        ${col.failedReason} = ${cancelledReason}::text, ${col.delayUntil} = null, ${col.lockUntil} = null,
        ${col.lockedBy} = null, ${col.removeAt} = ${expiresAt(keep)}, ${markCancelled(db)}
      from found where ${ends} and not ${deletes} returning ${outcome(sql`false`)}),
    deleted as (
      delete from ${db.jobs} as ${j} using found where ${ends} and ${deletes} returning ${outcome(sql`true`)}),
    ${o.as(sql`select * from failed union all select * from deleted`)},
    ${endedChildren.as(sql`
      select ${o.id}, ${o.parentQueueName}, ${o.parentId}, true, ${o.reason}, null::jsonb, ${o.expires}
      from ${o.table} where ${ofOthers(o.parentQueueName, o.parentId)}`)},
    ${cascade(db)}
    ${answer(sql`
      select ${o.queueName} as queue, ${o.id} as id, 'ended' as became from ${o.table}
      union all select queue, id, 'signalled' from signalled`)}`;
});

const remove = statement(
  'remove family',
  ['queue', 'id', ...LEASE_PARAMS],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const d = deletedJobs;
    const g = sql.identifier('gone');
    // With a lease, only as long as that holds the job.
    const may = sql`(${p.lease} is null or exists (select 1 from found root where root.is_root and root.held))`;
    return sql`
    with recursive ${family(db, p, heldIfLeased(j, p))},
    ${signalled(db, sql`not found.is_root and ${may}`)},
    gone(queue, id, parent_queue, parent_id, state, returnvalue) as (
      delete from ${db.jobs} as ${j} using found
      where ${j}.ctid = found.place and (found.is_root or found.state <> 'active') and ${may}
      returning ${j.queueName}, ${deletedJob(j)}),
    ${d.as(sql`
      select id, parent_queue, parent_id, state, returnvalue from ${g}
      where ${ofOthers(sql`${g}.parent_queue`, sql`${g}.parent_id`)}`)},
    ${endedChildren.as(sql`
      select ${d.id}, ${d.parentQueueName}, ${d.parentId}, true, ${removedReason}::text, null::jsonb, true
      from ${d.table} where ${live(d.state)}`)},
    ${cascade(db)},
    ${keptValues(db)}
    ${answer(sql`
      select queue, id, 'removed' as became from ${g} union all select queue, id, 'signalled' from signalled`)}`;
  },
  { repeatable: true },
);

function readFamily(rows: readonly Row[]): FamilyAnswer {
  const members: Member[] = [];
  const parents: ParentChange[] = [];
  for (const [kind, queueName, id, became, reason] of rows as string[][]) {
    const job = { queueName: queueName as string, id: id as string };
    if (kind === 'member') members.push({ ...job, became: became as Member['became'] });
    else parents.push({ ...job, state: became as JobState, reason: reason ?? null });
  }
  return { members, parents };
}

/**
 * Cancels a job and its descendants: those that have not started fail as cancelled, active ones are marked, and their
 * workers end them. Ended ones stay. A job that does not exist any more may have descendants all the same.
 */
export async function cancelFamily(executor: Executor, queueName: string, id: string): Promise<FamilyAnswer> {
  return readFamily(await executor.run(cancel, { queue: queueName, id }));
}

/**
 * Deletes a job in any state, and its descendants but for the active ones, which are cancelled; with a lease only while
 * that holds the job.
 */
export async function removeFamily(
  executor: Executor,
  queueName: string,
  id: string,
  lease: Lease | null,
): Promise<FamilyAnswer> {
  return readFamily(await executor.run(remove, { queue: queueName, id, ...leaseValues(lease) }));
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { heldByAnother, retryOnKeyConflict } from '../rules/deduplication.js';
import { startOver } from '../rules/start-over.js';
import { live } from '../rules/states.js';
import { type ChangeAnswer, readAnswer } from './change.js';

/**
 * A failed job starts over. Its children are locked first, then the job, then its parent: as everywhere, from the
 * bottom up. So a child that ends just now has ended before this counts, or finds its parent waiting afterwards; and a
 * parent that waits for its children again waits for this one too.
 */
const retryJob = statement('retry job', ['queue', 'id', 'drop'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const c = alias(db.jobs, 'c');
  const u = alias(db.jobs, 'u');
  const col = bare(db.jobs);
  const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  const unfinished = sql`(select count(*)::int from children where ${live(sql`state`)})`;
  const key = sql`case when ${p.drop} is not null or ${heldByAnother(db, j.deduplicationKey)}
    then null else ${j.deduplicationKey} end`;
  const fresh = { pendingChildren: unfinished, deduplicationKey: key, seq: db.nextSeq };
  return sql`
    with children as materialized (
      select ${c.state} as state from ${db.jobs} as ${c}
      where ${c.parentId} = ${p.id} and ${c.parentQueueName} = ${p.queue}
      order by ${c.queueName}, ${c.id} for update),
    found as materialized (
      select ${j.state} as state, ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id
      from ${db.jobs} as ${j} where ${own} and (select count(*) from children) >= 0 for update of j),
    parent as materialized (
      select ${u.queueName} as q, ${u.id} as id, ${u.state} as state from found join ${db.jobs} as ${u}
        on ${u.queueName} = found.parent_q and ${u.id} = found.parent_id
      where found.state = 'failed' for update of u),
    changed as (
      update ${db.jobs} as ${j} set ${startOver(db, fresh)}
      from found where ${own} and found.state = 'failed' returning ${j.state} as state),
    counted_up as (
      update ${db.jobs} as ${u} set ${col.pendingChildrenCount} = ${u.pendingChildrenCount} + 1
      from parent where ${u.queueName} = parent.q and ${u.id} = parent.id and parent.state = 'waiting-children')
    select ${columns(
      sql`'job'`,
      sql`found.state`,
      sql`changed.state is not null`,
      sql`coalesce(changed.state, found.state)`,
      sql`null`,
    )} from found left join changed on true`;
});

/**
 * Starts a failed job over: it waits, behind the others of its priority, or for its children that have not ended. A
 * deduplication key that another job has taken meanwhile is lost.
 */
export async function retryOne(executor: Executor, queueName: string, id: string): Promise<ChangeAnswer> {
  return readAnswer(await retryOnKeyConflict((drop) => executor.run(retryJob, { queue: queueName, id, drop })));
}

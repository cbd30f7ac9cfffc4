import { type SQL, sql } from 'drizzle-orm';
import { cte } from '../../db/cte.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { live } from './states.js';

/**
 * Has a parent. As a CASE: without statistics about such rows the planner may read all of the index of jobs with
 * parents.
 */
export const hasParent = (j: Jobs): SQL => sql`(case when ${j.parentId} is null then false else true end)`;

/** Jobs that a statement deletes, as they were. */
export const deletedJobs = cte('deleted_jobs', ['id', 'parentQueueName', 'parentId', 'state', 'returnvalue']);

/** A row of `deleted_jobs`, as `returning` lists it for the deleted row `j`. */
export const deletedJob = (j: Jobs): SQL =>
  sql.join([j.id, j.parentQueueName, j.parentId, j.state, j.returnvalue], sql`, `);

/**
 * Keeps the values of completed children that are deleted with their parents, as far as these have not ended: a parent
 * reads its children's values when it runs. Needs `deleted_jobs`.
 */
export function keptValues(db: Tables): SQL {
  const p = alias(db.jobs, 'p');
  const d = deletedJobs;
  return sql`
    kept_values as materialized (
      select ${d.parentQueueName} as queue_name, ${d.parentId} as id, jsonb_object_agg(${d.id}, ${d.returnvalue}) as kept
      from ${d.table} where ${d.parentId} is not null and ${d.state} = 'completed' group by 1, 2),
    live_parents as materialized (
      select k.* from kept_values k join ${db.jobs} as ${p} on ${p.queueName} = k.queue_name and ${p.id} = k.id
      where ${live(p.state)} order by ${p.queueName}, ${p.id} for update of p),
    values_kept as (
      update ${db.jobs} as ${p} set
        ${bare(db.jobs).childrenValues} = coalesce(${p.childrenValues}, '{}'::jsonb) || l.kept
      from live_parents l where ${p.queueName} = l.queue_name and ${p.id} = l.id and ${live(p.state)}
      returning 1)`;
}

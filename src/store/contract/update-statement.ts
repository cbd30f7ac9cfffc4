import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { cte } from '../../db/cte.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { heldByAnother } from '../rules/deduplication.js';
import { leaseExpired } from '../rules/lease.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { expiresAt, keepMs } from '../rules/retention.js';
import { ended } from '../rules/states.js';
import { merged, plainAssignments } from './update-fields.js';

const outcomes = cte('outcomes', ['queueName', 'name', 'state', 'processedAt', 'endedAt']);

/** The key after the update: a job that comes back to life gives its own up when somebody else holds it by now. */
function keyAfter(db: Tables, drop: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const key = merged(db, 'deduplicationKey');
  return sql`case when ${key} is null or ${ended(merged(db, 'state'))}
      or (not ${ended(j.state)} and ${key} = ${j.deduplicationKey}) then ${key}
    when ${drop} is not null or ${heldByAnother(db, key)} then null else ${key} end`;
}

/** When the ended job is deleted, from the moment it ends. Not at once: callers of this contract remove such jobs themselves. */
function removalAfter(db: Tables): SQL {
  const j = alias(db.jobs, 'j');
  const state = merged(db, 'state');
  const keep = sql`nullif(${keepMs(sql`coalesce(u.f -> 'opts', ${j.opts})`, state)}, 0)`;
  return sql`case when not ${ended(state)} then null when ${state} = ${j.state} then ${j.removeAt}
    else ${expiresAt(keep)} end`;
}

/**
 * Any fields of a job, whichever were given: the row is locked first, so that what is decided and what is answered is
 * about one and the same version of it. It may be changed by whom nothing is known; by who claimed it, while that
 * lease holds; and by who found it stalled, while it still is. A job that is its own worker's and was listed as
 * stalled by the same store may get calls from both: `waiting` is then taken for the sweeper's.
 */
export const mergeIntoJob = statement(
  'update job',
  ['queue', 'id', 'updates', 'expected', 'claimed', 'stalled', 'shard', 'drop'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const col = bare(db.jobs);
    const state = merged(db, 'state');
    const endOf = sql`case ${j.state} when 'completed' then ${j.completedAt} when 'failed' then ${j.failedAt} end`;
    return sql`
      with u as materialized (select ${p.updates}::jsonb as f),
      seen as materialized (
        select ${j.state} as state, coalesce(${p.expected}::jsonb @> to_jsonb(${j.state}), true) as expected,
          coalesce((${p.claimed} is null and ${p.stalled} is null)
            or (${j.state} = 'active' and ${j.lease} = ${p.stalled}::int
              and ${leaseExpired(j)})
            or (${j.state} = 'active' and ${j.lease} = ${p.claimed}::int
              and (${p.stalled} is null or u.f ->> 'state' is distinct from 'waiting')), false) as held
        from ${db.jobs} as ${j} cross join u
        where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} for update of j),
      changed as (
        update ${db.jobs} as ${j} set ${plainAssignments(db)},
          ${col.deduplicationKey} = ${keyAfter(db, p.drop)},
          ${col.priority} = coalesce((u.f ->> 'priority')::int, ${j.priority}),
          ${col.lease} = case when ${j.state} = 'active' and ${state} in ('waiting', 'delayed')
            then ${j.lease} + 1 else ${j.lease} end,
          ${col.removeAt} = ${removalAfter(db)}
        from u, seen where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and seen.expected and seen.held
        returning ${j.queueName} as queue_name, ${j.name} as name, ${j.state} as state, ${j.delayUntil} as until,
          ${j.processedAt} as processed, ${endOf} as ended),
      ${outcomes.as(sql`
        select queue_name, name, changed.state, processed, ended from changed join seen on changed.state <> seen.state
        where ended is not null`)},
      ${countMetrics(db, outcomes, p.shard, { endedAt: outcomes.endedAt })}
      select ${columns(sql`s.state`, sql`s.expected`, sql`s.held`, sql`c.state`, epochMs(sql`c.until`))}
      from seen s left join changed c on true`;
  },
);

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { cte } from '../../db/cte.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { recordsOf, withoutRecord } from '../rows/derived-record.js';
import { heldByAnother } from '../rules/deduplication.js';
import { leaseExpired } from '../rules/lease.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { expiresAt, keepMs } from '../rules/retention.js';
import { ended } from '../rules/states.js';
import { merged, plainAssignments } from './update-fields.js';

const outcomes = cte('outcomes', ['queueName', 'name', 'state', 'processedAt', 'endedAt']);

/** The key after the update: a job that is live again loses it when another job has taken it meanwhile. */
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
 * The records after the update. One that is not stored is, because the fields that it is derived from may change. And
 * whoever makes a job completed keeps its records himself.
 */
function recordsAfter(db: Tables): SQL {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const records = sql`case when u.f -> 'attemptLogs' is null then ${recordsOf(j)} else u.f -> 'attemptLogs' end`;
  return sql`${col.attemptLogs} = ${records}, ${col.startedLease} = case
    when ${merged(db, 'state')} = 'completed' and ${j.lease} > 0 and ${records} = '[]'::jsonb then ${withoutRecord(j.lease)}
    else nullif(${j.startedLease}, ${withoutRecord(j.lease)}) end`;
}

/**
 * Changes any fields of a job. The row is locked first, so that the decision and the answer are about the same version
 * of it. A caller that this store knows nothing about may always change it; one that has claimed it, while its lease
 * holds; one that has listed it as stalled, while it still is. If the same store has done both, two callers may follow:
 * the one that makes the job waiting is then taken for the sweeper.
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
      found as materialized (
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
          ${recordsAfter(db)}, ${col.deduplicationKey} = ${keyAfter(db, p.drop)},
          ${col.priority} = coalesce((u.f ->> 'priority')::int, ${j.priority}),
          ${col.lease} = case when ${j.state} = 'active' and ${state} in ('waiting', 'delayed')
            then ${j.lease} + 1 else ${j.lease} end,
          ${col.removeAt} = ${removalAfter(db)}
        from u, found where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and found.expected and found.held
        returning ${j.queueName} as queue_name, ${j.name} as name, ${j.state} as state, ${j.delayUntil} as until,
          ${j.processedAt} as processed, ${endOf} as ended),
      ${outcomes.as(sql`
        select queue_name, name, changed.state, processed, ended from changed join found on changed.state <> found.state
        where ended is not null`)},
      ${countMetrics(db, outcomes, p.shard, { endedAt: outcomes.endedAt })}
      select ${columns(sql`s.state`, sql`s.expected`, sql`s.held`, sql`c.state`, epochMs(sql`c.until`))}
      from found s left join changed c on true`;
  },
);

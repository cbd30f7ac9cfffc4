import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { cleanText } from '../../model/payload/values.js';
import type { Lease } from '../read/find.js';
import { keptValues } from '../remove/delete.js';
import { cascade } from '../rules/cascade.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { cancelledReason, removedReason } from '../rules/reasons.js';
import type { ParentChange } from '../settle/settle.js';
import { type ChangeAnswer, readAnswer } from './change.js';

const live = (state: SQLWrapper) => sql`${state} not in ('completed', 'failed')`;

/**
 * Ends one job as failed, and all that follows, as CTEs. Needs `seen(state, ends, …)`: the job as it is now, locked;
 * it is ended when `ends`. With `removeOnFail: true` it is deleted instead.
 */
function failSeen(db: Tables, own: SQLWrapper, reason: SQLWrapper, more: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const keep = sql`(${j.opts} -> 'removeOnFail')`;
  const drop = sql`coalesce(${keep} = 'true'::jsonb or ${keep} = '0'::jsonb, false)`;
  const outcome = sql`${j.queueName} as q, ${j.id} as id, ${j.name} as name, ${j.parentQueueName} as parent_q,
    ${j.parentId} as parent_id, seen.state as before, 'failed' as state, ${j.processedAt} as processed`;
  return sql`
    failed as (
      update ${db.jobs} as ${j} set ${col.state} = 'failed', ${col.failedAt} = ${now}, ${col.failedReason} = ${reason},
        ${col.delayUntil} = null, ${col.lockUntil} = null, ${col.lockedBy} = null,
        ${col.removeAt} = case when jsonb_typeof(${keep}) = 'number'
          then ${now} + ${keep}::text::float8 * interval '1 millisecond' end${more}
      from seen where ${own} and seen.ends and not ${drop}
      returning ${outcome}, ${j.failedReason} as reason, false as removed),
    dropped as (
      delete from ${db.jobs} as ${j} using seen where ${own} and seen.ends and ${drop}
      returning ${outcome}, ${reason} as reason, true as removed),
    over as materialized (select * from failed union all select * from dropped),
    ended as materialized (
      select q, id, parent_q, parent_id, true as failed, reason, null::jsonb as value, removed
      from over where parent_id is not null),
    ${cascade(db)}`;
}

const cancel = statement('cancel job', ['queue', 'id'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  const mark = sql`${col.cancelledAt} = coalesce(${j.cancelledAt}, ${now})`;
  return sql`
    with seen as materialized (
      select ${j.state} as state, ${live(j.state)} and ${j.state} <> 'active' as ends
      from ${db.jobs} as ${j} where ${own} for update),
    signalled as (
      update ${db.jobs} as ${j} set ${mark} from seen where ${own} and seen.state = 'active' returning 1),
    ${failSeen(db, own, sql`${cancelledReason}::text`, sql`, ${mark}`)}
    select ${columns(sql`'job'`, sql`seen.state`, live(sql`seen.state`), sql`case when seen.ends then 'failed' else seen.state end`, sql`null`)}
    from seen union all select 'parent', q, id, state, reason from parents`;
});

export interface CancelAnswer {
  readonly outcome: 'ended' | 'signalled' | 'not-cancellable' | 'missing';
  /** The state before; null: there is no such job. */
  readonly state: JobState | null;
  readonly parents: ParentChange[];
}

/** A job that has not started fails as cancelled; an active one is marked, and whoever runs it ends it. */
export async function cancelJob(executor: Executor, queueName: string, id: string): Promise<CancelAnswer> {
  const { found, done, parents } = readAnswer(await executor.run(cancel, { queue: queueName, id }));
  if (found === null) return { outcome: 'missing', state: null, parents };
  const outcome = !done ? 'not-cancellable' : found === 'active' ? 'signalled' : 'ended';
  return { outcome, state: found, parents };
}

const fail = statement('fail job', ['queue', 'id', 'reason', 'stack', 'lease', 'worker', 'shard'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  const iso = (time: SQLWrapper) => sql`to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
  // Of an active job it ends an attempt, and that is on record.
  const attempt = sql`jsonb_build_object('attempt', ${j.attemptsMade} + 1, 'startedAt', ${iso(j.processedAt)},
    'endedAt', ${iso(now)}, 'status', 'failed', 'error', ${p.reason}, 'stacktrace', ${p.stack}, 'logs', '[]'::jsonb)`;
  const more = sql`,
    ${col.attemptsMade} = ${j.attemptsMade} + case seen.state when 'active' then 1 else 0 end,
    ${col.attemptLogs} = case seen.state when 'active' then ${j.attemptLogs} || ${attempt} else ${j.attemptLogs} end,
    ${col.stacktrace} = case when ${p.stack} is null then ${j.stacktrace} else ${j.stacktrace} || to_jsonb(${p.stack}) end`;
  return sql`
    with seen as materialized (
      select ${j.state} as state, ${live(j.state)} and (${p.lease} is null or (${j.state} = 'active'
        and ${j.lease} = ${p.lease}::int and coalesce(${j.lockedBy} = ${p.worker}, false))) as ends
      from ${db.jobs} as ${j} where ${own} for update),
    ${failSeen(db, own, p.reason, more)},
    outcomes as materialized (
      select q, name, state, processed from over where before = 'active' and ${p.shard} is not null),
    ${countMetrics(db, p.shard)}
    select ${columns(sql`'job'`, sql`seen.state`, sql`seen.ends`, sql`case when seen.ends then 'failed' else seen.state end`, sql`null`)}
    from seen union all select 'parent', q, id, state, reason from parents`;
});

/**
 * Fails a job that has not ended, for good; with a fence only while that holds it.
 *
 * @param shard where its metrics are counted; null when they are not
 */
export async function failOne(
  executor: Executor,
  queueName: string,
  id: string,
  reason: string,
  stack: string | null,
  fence: Lease | null,
  shard: number | null = null,
): Promise<ChangeAnswer> {
  const { lease = null, workerId: worker = null } = fence ?? {};
  const said = { reason: cleanText(reason), stack: stack === null ? null : cleanText(stack) };
  return readAnswer(await executor.run(fail, { queue: queueName, id, ...said, lease, worker, shard }));
}

const remove = statement(
  'remove one',
  ['queue', 'id', 'lease', 'worker'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`
      with gone as (
        delete from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
          and (${p.lease} is null
            or (${j.state} = 'active' and ${j.lease} = ${p.lease}::int and ${j.lockedBy} = ${p.worker}))
        returning ${j.queueName} as q, ${j.id} as id, ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id,
          ${j.state} as state, ${j.returnvalue} as value),
      ended as materialized (
        select q, id, parent_q, parent_id, true as failed, ${removedReason}::text as reason, null::jsonb as value, true as removed
        from gone where parent_id is not null and ${live(sql`state`)}),
      ${cascade(db)},
      ${keptValues(db)}
      select ${columns(sql`'job'`, sql`state`, sql`true`, sql`null`, sql`null`)} from gone
      union all select 'parent', q, id, state, reason from parents`;
  },
  { repeatable: true },
);

/**
 * Deletes a job in any state; with a fence only while that holds it. An active one is lost to its worker; a parent that
 * waits for it is told, and keeps the value of one that had completed.
 */
export async function removeOne(
  executor: Executor,
  queueName: string,
  id: string,
  fence: Lease | null = null,
): Promise<ChangeAnswer> {
  const values = { queue: queueName, id, lease: fence?.lease ?? null, worker: fence?.workerId ?? null };
  return readAnswer(await executor.run(remove, values));
}

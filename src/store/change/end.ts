import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { isoTime, now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { cleanText } from '../../model/payload/values.js';
import { appended, attemptRecord, withStack } from '../rules/attempt-record.js';
import { cascade, cascadeOf, endedChildren, type ParentChange, selectParents } from '../rules/cascade.js';
import { deletedJob, deletedJobs, keptValues } from '../rules/children-values.js';
import { heldIfLeased, LEASE_PARAMS, type Lease, leaseValues } from '../rules/lease.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { outcomeOf, outcomesWith } from '../rules/outcomes.js';
import { cancelledReason, removedReason } from '../rules/reasons.js';
import { deletedAtOnce, expiresAt, keepMs } from '../rules/retention.js';
import { live } from '../rules/states.js';
import { type ChangeAnswer, readAnswer } from './change.js';

const outcomes = outcomesWith(['before']);

/**
 * Ends one job as failed, and all that follows, as CTEs. Needs `found(state, ends)`: the job as it is now, locked; it
 * is ended when `ends`. One whose `removeOnFail` says so is deleted instead.
 *
 * @param more further assignments
 */
function failFound(db: Tables, own: SQL, reason: SQL, more: SQL): SQL {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const keep = keepMs(j.opts, 'failed');
  const deletes = deletedAtOnce(keep);
  const outcome = (why: SQLWrapper, expires: SQL) =>
    sql`${outcomeOf(j, { state: sql`'failed'`, reason: why, expires })}, found.state`;
  return sql`
    failed as (
      update ${db.jobs} as ${j} set ${col.state} = 'failed', ${col.failedAt} = ${now}, ${col.failedReason} = ${reason},
        ${col.delayUntil} = null, ${col.lockUntil} = null, ${col.lockedBy} = null, ${col.removeAt} = ${expiresAt(keep)}${more}
      from found where ${own} and found.ends and not ${deletes}
      returning ${outcome(j.failedReason, sql`false`)}),
    deleted as (
      delete from ${db.jobs} as ${j} using found where ${own} and found.ends and ${deletes}
      returning ${outcome(reason, sql`true`)}),
    ${outcomes.as(sql`select * from failed union all select * from deleted`)},
    ${cascadeOf(db, outcomes)}`;
}

/** The answer: the job, as `readAnswer` reads it, then its ancestors. */
const answer = (done: SQL, after: SQL): SQL => sql`
  select ${columns(sql`'job'`, sql`found.state`, done, after, sql`null`)} from found
  union all select 'parent', parent.* from (${selectParents}) parent`;

const cancel = statement('cancel job', ['queue', 'id'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  const mark = sql`${bare(db.jobs).cancelledAt} = coalesce(${j.cancelledAt}, ${now})`;
  return sql`
    with found as materialized (
      select ${j.state} as state, ${live(j.state)} and ${j.state} <> 'active' as ends
      from ${db.jobs} as ${j} where ${own} for update),
    signalled as (
      update ${db.jobs} as ${j} set ${mark} from found where ${own} and found.state = 'active' returning 1),
    ${failFound(db, own, sql`${cancelledReason}::text`, sql`, ${mark}`)}
    ${answer(live(sql`found.state`), sql`case when found.ends then 'failed' else found.state end`)}`;
});

export interface CancelAnswer {
  readonly outcome: 'ended' | 'signalled' | 'not-cancellable' | 'missing';
  /** The state before; null: there is no such job. */
  readonly state: JobState | null;
  readonly parents: ParentChange[];
}

/** A job that has not started fails as cancelled; an active one is marked, and its worker ends it. */
export async function cancelJob(executor: Executor, queueName: string, id: string): Promise<CancelAnswer> {
  const { found, done, parents } = readAnswer(await executor.run(cancel, { queue: queueName, id }));
  if (found === null) return { outcome: 'missing', state: null, parents };
  const outcome = !done ? 'not-cancellable' : found === 'active' ? 'signalled' : 'ended';
  return { outcome, state: found, parents };
}

const fail = statement('fail job', ['queue', 'id', 'reason', 'stack', ...LEASE_PARAMS, 'shard'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  const active = sql`found.state = 'active'`;
  const record = attemptRecord({
    attempt: sql`${j.attemptsMade} + 1`,
    startedAt: isoTime(j.processedAt),
    completed: sql`false`,
    error: p.reason,
    stack: p.stack,
    logs: sql`null::jsonb`,
  });
  // Of an active job it ends an attempt, and that is on record.
  const more = sql`,
    ${col.attemptsMade} = ${j.attemptsMade} + case when ${active} then 1 else 0 end,
    ${col.attemptLogs} = case when ${active} then ${appended(j.attemptLogs, record)} else ${j.attemptLogs} end,
    ${col.stacktrace} = ${withStack(j.stacktrace, sql`(case when ${active} then coalesce(${p.stack}, ${p.reason}) else ${p.stack} end)`)}`;
  return sql`
    with found as materialized (
      select ${j.state} as state, ${live(j.state)} and ${heldIfLeased(j, p)} as ends
      from ${db.jobs} as ${j} where ${own} for update),
    ${failFound(db, own, p.reason, more)},
    ${countMetrics(db, outcomes, p.shard, { where: sql`${outcomes.before} = 'active'` })}
    ${answer(sql`found.ends`, sql`case when found.ends then 'failed' else found.state end`)}`;
});

/**
 * Fails a job that has not ended, for good; with a lease only while that holds it.
 *
 * @param shard where its metrics are counted; null when they are not
 */
export async function failOne(
  executor: Executor,
  queueName: string,
  id: string,
  reason: string,
  stack: string | null,
  lease: Lease | null,
  shard: number | null = null,
): Promise<ChangeAnswer> {
  const texts = { reason: cleanText(reason), stack: stack === null ? null : cleanText(stack) };
  return readAnswer(await executor.run(fail, { queue: queueName, id, ...texts, ...leaseValues(lease), shard }));
}

const remove = statement(
  'remove job',
  ['queue', 'id', ...LEASE_PARAMS],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const d = deletedJobs;
    return sql`
      with ${d.inline(sql`
        delete from ${db.jobs} as ${j}
        where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${heldIfLeased(j, p)} returning ${deletedJob(j)}`)},
      ${endedChildren.as(sql`
        select ${d.id}, ${d.parentQueueName}, ${d.parentId}, true, ${removedReason}::text, null::jsonb, true
        from ${d.table} where ${d.parentId} is not null and ${live(d.state)}`)},
      ${cascade(db)},
      ${keptValues(db)}
      select ${columns(sql`'job'`, d.state, sql`true`, sql`null`, sql`null`)} from ${d.table}
      union all select 'parent', parent.* from (${selectParents}) parent`;
  },
  { repeatable: true },
);

/**
 * Deletes a job in any state; with a lease only while that holds it. An active one is lost to its worker; a parent that
 * waits for it is treated by its policy, and keeps the value of one that had completed.
 */
export async function removeOne(
  executor: Executor,
  queueName: string,
  id: string,
  lease: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(remove, { queue: queueName, id, ...leaseValues(lease) }));
}

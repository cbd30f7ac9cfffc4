import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { cascade } from '../rules/cascade.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { cancelledReason } from '../rules/reasons.js';
import { stillIn } from '../rules/states.js';
import type { ParentChange, Settled } from '../settle/settle.js';

/** Rows of one sweep statement: it must not hold many locks for long. */
export const SWEEP_CHUNK = 500;

/**
 * Returns jobs whose lease ran out (or that are active without one) to waiting, or ends them with all that follows: as
 * cancelled, or as stalled once too often. Locked rows belong to somebody who is just ending or sweeping them: passed
 * over.
 */
const sweepStalled = statement('sweep', ['queue', 'max', 'limit', 'shard'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const ends = sql`(${j.cancelledAt} is not null or ${j.stalledCount} >= ${p.max}::int)`;
  const reason = sql`case when ${j.cancelledAt} is not null then ${cancelledReason}
    else 'Job stalled more than ' || ${p.max} || ' time(s): its worker died or lost its connection' end`;
  const keep = sql`(${j.opts} -> 'removeOnFail')`;
  const dropped = sql`(${ends} and coalesce(${keep} = 'true'::jsonb or ${keep} = '0'::jsonb, false))`;
  const expired = sql`${j.queueName} = ${p.queue} and ${j.state} = 'active'
    and (${j.lockUntil} is null or ${j.lockUntil} < now())`;
  const own = sql`${j}.ctid = any(array(select ctid from stalled)) and ${stillIn(j, 'active')}`;
  const outcome = sql`${j.queueName} as q, ${j.id} as id, ${j.name} as name, ${j.parentQueueName} as parent_q,
    ${j.parentId} as parent_id, ${j.cancelledAt} is not null as cancelled, ${j.processedAt} as processed`;
  return sql`
    with stalled as materialized (
      select ${j}.ctid from ${db.jobs} as ${j} where ${expired}
      order by ${j.id} limit ${p.limit}::int for update skip locked),
    swept as (
      update ${db.jobs} as ${j} set
        ${col.state} = case when ${ends} then 'failed' else 'waiting' end,
        ${col.failedAt} = case when ${ends} then ${now} else ${j.failedAt} end,
        ${col.failedReason} = case when ${ends} then ${reason} else ${j.failedReason} end,
        ${col.removeAt} = case when ${ends} and jsonb_typeof(${keep}) = 'number'
          then ${now} + ${interval(sql`${keep}::text`)} end,
        ${col.stalledCount} = ${j.stalledCount} + 1, ${col.lease} = ${j.lease} + 1,
        ${col.lockUntil} = null, ${col.lockedBy} = null
      where ${own} and not ${dropped}
      returning ${outcome}, ${j.state} as state, ${j.failedReason} as reason, ${j.removeAt} is not null as removed),
    gone as (
      delete from ${db.jobs} as ${j} where ${own} and ${dropped}
      returning ${outcome}, 'failed' as state, ${reason} as reason, true as removed),
    over as materialized (select * from swept union all select * from gone),
    ended as materialized (
      select q, id, parent_q, parent_id, true as failed, reason, null::jsonb as value, removed
      from over where state = 'failed' and parent_id is not null),
    ${cascade(db)},
    outcomes as materialized (
      select q, name, state, processed from over where state = 'failed' and ${p.shard} is not null),
    ${countMetrics(db, p.shard)}
    select ${columns(sql`q`, sql`id`, sql`state`, sql`cancelled`, sql`false`, sql`reason`)} from over
    union all
    select q, id, state, 'false', 'true', reason from parents`;
});

export interface Swept {
  readonly jobs: (Settled & { readonly queueName: string; readonly id: string; readonly reason: string | null })[];
  readonly parents: ParentChange[];
}

/**
 * @param maxStalledCount how often a job may stall before it fails
 * @param shard where the metrics are counted; null when they are not
 */
export async function sweep(
  executor: Executor,
  queueName: string,
  maxStalledCount: number,
  shard: number | null = null,
): Promise<Swept> {
  const swept: Swept = { jobs: [], parents: [] };
  for (let more = true; more; ) {
    const values = { queue: queueName, max: maxStalledCount, limit: SWEEP_CHUNK, shard };
    let count = 0;
    for (const [q, id, state, cancelled, isParent, reason] of (await executor.run(
      sweepStalled,
      values,
    )) as string[][]) {
      const key = { queueName: q as string, id: id as string, reason: reason ?? null };
      if (isParent === 'true') {
        swept.parents.push({ ...key, state: state as ParentChange['state'] });
      } else {
        count++;
        swept.jobs.push({ ...key, state: state as JobState, cancelled: cancelled === 'true', removed: false });
      }
    }
    more = count === SWEEP_CHUNK;
  }
  return swept;
}

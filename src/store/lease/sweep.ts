import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { cascadeOf, type ParentChange, parents } from '../rules/cascade.js';
import { leaseExpired } from '../rules/lease.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { outcomeOf, outcomesWith } from '../rules/outcomes.js';
import { cancelledReason } from '../rules/reasons.js';
import { deletedAtOnce, expiresAt, keepMs } from '../rules/retention.js';
import { firstId, notSetAside, SetAside, sparing } from '../rules/set-aside.js';
import { stillIn } from '../rules/states.js';
import type { Settled } from '../settle/settle.js';

/** Rows of one sweep statement: it must not hold many locks for long. */
export const SWEEP_CHUNK = 500;

const outcomes = outcomesWith(['cancelled']);

const stalledJobs = (db: Tables, queue: SQLWrapper, skip: SQLWrapper): SQL => {
  const j = alias(db.jobs, 'j');
  return sql`from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${j.state} = 'active' and ${leaseExpired(j)}
    and ${notSetAside(j, skip)} order by ${j.id}`;
};

const sweepHead = statement('sweep head', ['queue', 'skip'], (db, p) => {
  const { id } = alias(db.jobs, 'j');
  return sql`select ${columns(id)} ${stalledJobs(db, p.queue, p.skip)} limit 1 for update skip locked`;
});

/**
 * Returns stalled jobs to waiting, or ends them with all that follows: as cancelled, or as stalled once too often.
 * Locked rows are passed over: another statement is ending or sweeping them.
 */
const sweepStalled = statement('sweep', ['queue', 'max', 'limit', 'shard', 'skip'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const fails = sql`(${j.cancelledAt} is not null or ${j.stalledCount} >= ${p.max}::int)`;
  const reason = sql`case when ${j.cancelledAt} is not null then ${cancelledReason}
    else 'Job stalled more than ' || ${p.max} || ' time(s): its worker died or lost its connection' end`;
  const keep = keepMs(j.opts, 'failed');
  const deletes = sql`(${fails} and ${deletedAtOnce(keep)})`;
  const picked = sql`${j}.ctid = any(array(select ctid from stalled)) and ${stillIn(j, 'active')}`;
  const cancelled = sql`${j.cancelledAt} is not null`;
  return sql`
    with stalled as materialized (
      select ${j}.ctid ${stalledJobs(db, p.queue, p.skip)} limit ${p.limit}::int for update skip locked),
    swept as (
      update ${db.jobs} as ${j} set
        ${col.state} = case when ${fails} then 'failed' else 'waiting' end,
        ${col.failedAt} = case when ${fails} then ${now} else ${j.failedAt} end,
        ${col.failedReason} = case when ${fails} then ${reason} else ${j.failedReason} end,
        ${col.removeAt} = case when ${fails} then ${expiresAt(keep)} end,
        ${col.stalledCount} = ${j.stalledCount} + 1, ${col.lease} = ${j.lease} + 1,
        ${col.lockUntil} = null, ${col.lockedBy} = null
      where ${picked} and not ${deletes}
      returning ${outcomeOf(j, { state: j.state, reason: j.failedReason, expires: sql`${j.removeAt} is not null` })},
        ${cancelled}),
    deleted as (
      delete from ${db.jobs} as ${j} where ${picked} and ${deletes}
      returning ${outcomeOf(j, { state: sql`'failed'`, reason, expires: sql`true` })}, ${cancelled}),
    ${outcomes.as(sql`select * from swept union all select * from deleted`)},
    ${cascadeOf(db, outcomes)},
    ${countMetrics(db, outcomes, p.shard)}
    select ${columns(outcomes.queueName, outcomes.id, outcomes.state, outcomes.cancelled, sql`false`, outcomes.reason)}
    from ${outcomes.table}
    union all
    select ${parents.queueName}, ${parents.id}, ${parents.state}, 'false', 'true', ${parents.reason} from ${parents.table}`;
});

export interface Swept {
  readonly jobs: (Settled & { readonly queueName: string; readonly id: string; readonly reason: string | null })[];
  readonly parents: ParentChange[];
}

/**
 * Sweeps a queue, chunk by chunk.
 *
 * @param maxStalledCount how often a job may stall before it fails
 * @param shard where the metrics are counted; null when they are not
 * @param aside jobs that the database refuses to sweep
 */
export async function sweep(
  executor: Executor,
  queueName: string,
  maxStalledCount: number,
  shard: number | null = null,
  aside = new SetAside(() => {}),
): Promise<Swept> {
  const swept: Swept = { jobs: [], parents: [] };
  for (let more = true; more; ) {
    const values = { queue: queueName, max: maxStalledCount, shard };
    let size = SWEEP_CHUNK;
    const rows = await sparing({
      work: (limit, skip) => {
        size = limit;
        return executor.run(sweepStalled, { ...values, limit, skip });
      },
      head: async (skip) => firstId(await executor.run(sweepHead, { queue: queueName, skip })),
      limit: SWEEP_CHUNK,
      aside,
    });
    let count = 0;
    for (const [queue, id, state, cancelled, isParent, reason] of rows as string[][]) {
      const key = { queueName: queue as string, id: id as string, reason: reason ?? null };
      if (isParent === 'true') {
        swept.parents.push({ ...key, state: state as ParentChange['state'] });
      } else {
        count++;
        swept.jobs.push({ ...key, state: state as JobState, cancelled: cancelled === 'true', removed: false });
      }
    }
    more = count >= size;
  }
  return swept;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { isoTime, now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { appended, attemptRecord, withStack } from '../rules/attempt-record.js';
import { attemptsOf } from '../rules/attempts.js';
import { cascadeOf, type ParentChange, parents } from '../rules/cascade.js';
import { leaseExpired } from '../rules/lease.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { outcomeOf, outcomesWith } from '../rules/outcomes.js';
import { cancelledReason } from '../rules/reasons.js';
import { expiresAt, keepMs } from '../rules/retention.js';
import { firstKey, jobKey, notSetAside, SetAside, sparing } from '../rules/set-aside.js';
import { stillIn } from '../rules/states.js';

/** Rows of one sweep statement: it must not hold many locks for long. */
export const SWEEP_CHUNK = 500;

const outcomes = outcomesWith(['cancelled']);

const stalledJobs = (db: Tables, queue: SQLWrapper, skip: SQLWrapper): SQL => {
  const j = alias(db.jobs, 'j');
  return sql`from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${j.state} = 'active' and ${leaseExpired(j)}
    and ${notSetAside(j, skip)} order by ${j.id}`;
};

const sweepHead = statement('sweep head', ['queue', 'skip'], (db, p) => {
  return sql`select ${columns(jobKey(alias(db.jobs, 'j')))} ${stalledJobs(db, p.queue, p.skip)} limit 1 for update skip locked`;
});

/**
 * Returns stalled jobs to waiting, or ends them with all that follows. Whether a stall counts, and what for, is decided
 * on what was recorded under the lease that has expired:
 * - The handler had not started: it does not count. `started_lease` 0 has the next worker record the start before it
 *   calls the handler, so that a job which kills its process at once is known as well.
 * - It had: the job has stalled once more.
 * - It had, nothing else ran in that process, and the job has stalled as often as it may: nothing but this job can be the
 *   cause, and its attempt has failed.
 *
 * Locked rows are passed over: another statement is ending or sweeping them.
 */
const sweepStalled = statement('sweep', ['queue', 'max', 'limit', 'shard', 'skip'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  const cancelled = sql`${j.cancelledAt} is not null`;
  const started = sql`coalesce(${j.startedLease} = ${j.lease}, false)`;
  const blamed = sql`(${started} and ${j.startedAlone} and ${j.stalledCount} >= ${p.max}::int)`;
  const attempted = sql`(${blamed} or (${started} and ${cancelled}))`;
  const fails = sql`(${cancelled} or (${blamed} and (${j.discarded} or ${j.attemptsMade} + 1 >= ${attemptsOf(j.opts)})))`;
  const reason = sql`case when ${cancelled} then ${cancelledReason}
    else 'Job stalled more than ' || ${p.max} || ' time(s): its worker died or lost its connection' end`;
  const record = attemptRecord({
    attempt: sql`${j.attemptsMade} + 1`,
    startedAt: isoTime(j.processedAt),
    completed: sql`false`,
    error: reason,
    stack: sql`null::text`,
    logs: sql`null::jsonb`,
  });
  return sql`
    with stalled as materialized (
      select ${j}.ctid ${stalledJobs(db, p.queue, p.skip)} limit ${p.limit}::int for update skip locked),
    swept as (
      update ${db.jobs} as ${j} set
        ${col.state} = case when ${fails} then 'failed' else 'waiting' end,
        ${col.failedAt} = case when ${fails} then ${now} else ${j.failedAt} end,
        ${col.failedReason} = case when ${fails} or ${blamed} then ${reason} else ${j.failedReason} end,
        ${col.removeAt} = case when ${fails} then ${expiresAt(keepMs(j.opts, 'failed'))} end,
        ${col.attemptsMade} = ${j.attemptsMade} + case when ${attempted} then 1 else 0 end,
        ${col.attemptLogs} = case when ${attempted} then ${appended(j.attemptLogs, record)} else ${j.attemptLogs} end,
        ${col.stacktrace} = ${withStack(j.stacktrace, sql`case when ${attempted} then ${reason} end`)},
        ${col.stalledCount} = ${j.stalledCount} + case when ${started} then 1 else 0 end,
        ${col.startedLease} = case when ${started} then ${j.startedLease} else 0 end,
        ${col.lease} = ${j.lease} + 1, ${col.lockUntil} = null, ${col.lockedBy} = null
      where ${j}.ctid = any(array(select ctid from stalled)) and ${stillIn(j, 'active')}
      returning ${outcomeOf(j, { state: j.state, reason: j.failedReason, expires: sql`${j.removeAt} is not null` })},
        ${cancelled}),
    ${outcomes.as(sql`select * from swept`)},
    ${cascadeOf(db, outcomes)},
    ${countMetrics(db, outcomes, p.shard)}
    select ${columns(outcomes.queueName, outcomes.id, outcomes.state, outcomes.cancelled, sql`false`, outcomes.reason)}
    from ${outcomes.table}
    union all
    select ${parents.queueName}, ${parents.id}, ${parents.state}, 'false', 'true', ${parents.reason} from ${parents.table}`;
});

export interface SweptJob {
  readonly queueName: string;
  readonly id: string;
  readonly state: JobState;
  readonly cancelled: boolean;
  /** Why its last attempt failed. */
  readonly reason: string | null;
}

export interface Swept {
  readonly jobs: SweptJob[];
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
      head: async (skip) => firstKey(await executor.run(sweepHead, { queue: queueName, skip })),
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
        swept.jobs.push({ ...key, state: state as JobState, cancelled: cancelled === 'true' });
      }
    }
    more = count >= size;
  }
  return swept;
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import { columns, interval, now, statement } from '../db/statement.js';
import type { JobState } from '../model/job.js';
import { cascade } from './cascade.js';
import { CANCELLED_REASON, type ParentChange, type Settled } from './settle.js';

/** One hold on a job: what a worker's every write must name. */
export interface Hold {
  readonly queueName: string;
  readonly id: string;
  readonly lease: number;
  readonly workerId: string;
}

export interface Renewed {
  readonly id: string;
  readonly queueName: string;
  readonly lease: number;
  /** Somebody cancelled the job: this tells also where notifications do not arrive. */
  readonly cancelled: boolean;
}

/**
 * Touches no indexed column, so the row stays where it is (a HOT update). Rows that a settlement has locked right now
 * are passed over, so that the two can never wait for each other; they count as renewed, for their end is near.
 */
const renewLeases = statement(
  'renew',
  ['holds', 'lock'],
  (db, p) => {
    const j = db.jobs.of('j');
    const { col } = db.jobs;
    return sql`
      with i as materialized (
        select * from jsonb_to_recordset(${p.holds}::jsonb) as x(q text, id text, lease int, worker text)),
      held as materialized (
        select ${j.ctid}, i.q, i.id from i join ${db.jobs.as('j')} on ${j.queueName} = i.q and ${j.id} = i.id
        where ${j.lease} = i.lease and ${j.lockedBy} = i.worker and ${j.state} = 'active'),
      free as materialized (
        select ${j.ctid} from ${db.jobs.as('j')} join held on ${j.queueName} = held.q and ${j.id} = held.id
        where ${j.state} = 'active' order by ${j.queueName}, ${j.id} for update of j skip locked),
      renewed as (
        update ${db.jobs.as('j')} set ${col.lockUntil} = ${now} + ${interval(p.lock)}
        from i where ${j.ctid} = any(array(select ctid from free)) and ${j.queueName} = i.q and ${j.id} = i.id
          and ${j.lease} = i.lease and ${j.lockedBy} = i.worker and ${j.state} = 'active'
        returning 1)
      select ${columns(j.queueName, j.id, j.lease, sql`${j.cancelledAt} is not null`)}
      from held join ${db.jobs.as('j')} on ${j.queueName} = held.q and ${j.id} = held.id
      where ${j.state} = 'active' and (select count(*) from renewed) >= 0`;
  },
  { repeatable: true },
);

export async function renew(executor: Executor, holds: readonly Hold[], lockDuration: number): Promise<Renewed[]> {
  if (holds.length === 0) return [];
  const json = JSON.stringify(
    holds.map(({ queueName, id, lease, workerId }) => ({ q: queueName, id, lease, worker: workerId })),
  );
  const rows = await executor.run(renewLeases, { holds: json, lock: lockDuration });
  return (rows as string[][]).map(([queueName, id, lease, cancelled]) => ({
    queueName: queueName as string,
    id: id as string,
    lease: Number(lease),
    cancelled: cancelled === 'true',
  }));
}

/** Rows of one sweep statement: it must not hold many locks for long. */
export const SWEEP_CHUNK = 500;

/**
 * Returns jobs whose lease ran out (or that are active without one) to waiting, or ends them: as cancelled, or as
 * stalled once too often. Locked rows belong to somebody who is just ending or sweeping them: passed over.
 */
const sweepStalled = statement('sweep', ['queue', 'max', 'limit'], (db, p) => {
  const j = db.jobs.of('j');
  const { col } = db.jobs;
  const ends = sql`(${j.cancelledAt} is not null or ${j.stalledCount} >= ${p.max}::int)`;
  const reason = sql`case when ${j.cancelledAt} is not null then ${CANCELLED_REASON}
    else 'Job stalled more than ' || ${p.max} || ' time(s): its worker died or lost its connection' end`;
  const expired = sql`${j.queueName} = ${p.queue} and ${j.state} = 'active'
    and (${j.lockUntil} is null or ${j.lockUntil} < now())`;
  return sql`
    with stalled as materialized (
      select ${j.ctid} from ${db.jobs.as('j')} where ${expired}
      order by ${j.id} limit ${p.limit}::int for update skip locked),
    swept as (
      update ${db.jobs.as('j')} set
        ${col.state} = case when ${ends} then 'failed' else 'waiting' end,
        ${col.failedAt} = case when ${ends} then ${now} else ${j.failedAt} end,
        ${col.failedReason} = case when ${ends} then ${reason} else ${j.failedReason} end,
        ${col.stalledCount} = ${j.stalledCount} + 1, ${col.lease} = ${j.lease} + 1,
        ${col.lockUntil} = null, ${col.lockedBy} = null
      where ${j.ctid} = any(array(select ctid from stalled)) and ${expired}
      returning ${j.queueName} as q, ${j.id} as id, ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id,
        ${j.state} as state, ${j.cancelledAt} is not null as cancelled, ${j.failedReason} as reason),
    ended as materialized (
      select q, id, parent_q, parent_id, true as failed, reason, null::jsonb as value, false as removed
      from swept where state = 'failed' and parent_id is not null),
    ${cascade(db)}
    select ${columns(sql`q`, sql`id`, sql`state`, sql`cancelled`, sql`false`, sql`reason`)} from swept
    union all
    select q, id, state, 'false', 'true', reason from parents`;
});

export interface Swept {
  readonly jobs: (Settled & { readonly reason: string | null })[];
  readonly parents: ParentChange[];
}

export async function sweep(executor: Executor, queueName: string, maxStalledCount: number): Promise<Swept> {
  const swept: Swept = { jobs: [], parents: [] };
  for (let more = true; more; ) {
    const rows = await executor.run(sweepStalled, { queue: queueName, max: maxStalledCount, limit: SWEEP_CHUNK });
    let count = 0;
    for (const [q, id, state, cancelled, isParent, reason] of rows as string[][]) {
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

const releaseUnheld = statement(
  'release unheld',
  ['queue', 'worker', 'held'],
  (db, p) => {
    const j = db.jobs.of('j');
    const { col } = db.jobs;
    return sql`
      with held as materialized (select id from jsonb_array_elements_text(${p.held}::jsonb) as h(id)),
      unheld as materialized (
        select ${j.ctid} from ${db.jobs.as('j')}
        where ${j.queueName} = ${p.queue} and ${j.state} = 'active' and ${j.lockedBy} = ${p.worker}
          and ${j.id} not in (select id from held)
        for update skip locked)
      update ${db.jobs.as('j')} set ${col.state} = 'waiting', ${col.lockUntil} = null, ${col.lockedBy} = null,
        ${col.processedAt} = null
      where ${j.ctid} = any(array(select ctid from unheld)) and ${j.state} = 'active' and ${j.lockedBy} = ${p.worker}
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/**
 * Gives back what this worker has claimed without knowing it: the answer to the claim was lost with its connection.
 * Without this those jobs would wait for their lease to run out, and count as stalled. True when there were any.
 */
export async function releaseUnknown(
  executor: Executor,
  queueName: string,
  workerId: string,
  heldIds: readonly string[],
): Promise<boolean> {
  const rows = await executor.run(releaseUnheld, { queue: queueName, worker: workerId, held: JSON.stringify(heldIds) });
  return rows.length > 0;
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import { heldBy, type JobLease } from '../rules/lease.js';
import { stillIn } from '../rules/states.js';

/** A lease to renew. */
export interface Renewal extends JobLease {
  /** Given to record that the handler has started, instead of renewing: whether nothing else runs in the process. */
  readonly startedAlone?: boolean | undefined;
}

export interface Renewed {
  readonly id: string;
  readonly queueName: string;
  readonly lease: number;
  /** The job was cancelled. Reported here too, because notifications may not arrive. */
  readonly cancelled: boolean;
  /** False: the row is locked, and nothing was written. */
  readonly written: boolean;
}

/**
 * Extends leases, or records under them which handlers have started. Touches no indexed column, so that the update is
 * HOT. Rows that a settlement has locked are passed over, so that the two never wait for each other; they count as
 * renewed, because they are about to end.
 */
const renewLeases = statement(
  'renew',
  ['leases', 'lock'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const col = bare(db.jobs);
    return sql`
      with input as materialized (
        select *, 'active' as active
        from jsonb_to_recordset(${p.leases}::jsonb) as x(q text, id text, lease int, worker text, alone boolean)),
      held as materialized (
        select ${j.queueName} as q, ${j.id} as id, ${j.lease} as lease, ${j.cancelledAt} is not null as cancelled
        from input i cross join lateral (
          select * from ${db.jobs} as ${j} where ${j.queueName} = i.q and ${j.id} = i.id limit 1) j
        where ${heldBy(j, sql`i.lease`, sql`i.worker`)}),
      free as materialized (
        select ${j}.ctid as place, i.alone from ${db.jobs} as ${j} join input i on ${j.queueName} = i.q and ${j.id} = i.id
        where ${heldBy(j, sql`i.lease`, sql`i.worker`, sql`i.active`)}
        order by ${j.queueName}, ${j.id} for update of j skip locked),
      renewed as (
        update ${db.jobs} as ${j} set
          ${col.lockUntil} = case when alone is null then ${now} + ${interval(p.lock)} else ${j.lockUntil} end,
          ${col.startedLease} = case when alone is null then ${j.startedLease} else ${j.lease} end,
          ${col.startedAlone} = coalesce(alone, ${j.startedAlone})
        from free where ${j}.ctid = place and ${stillIn(j, 'active')}
        returning ${j.queueName} as q, ${j.id} as id)
      select ${columns(sql`q`, sql`id`, sql`lease`, sql`cancelled`, sql`(q, id) in (select q, id from renewed)`)} from held`;
  },
  { repeatable: true },
);

export async function renew(executor: Executor, leases: readonly Renewal[], lockDuration: number): Promise<Renewed[]> {
  if (leases.length === 0) return [];
  const json = JSON.stringify(
    leases.map(({ queueName: q, id, lease, workerId: worker, startedAlone: alone }) => ({
      q,
      id,
      lease,
      worker,
      alone,
    })),
  );
  const rows = await executor.run(renewLeases, { leases: json, lock: lockDuration });
  return (rows as string[][]).map(([queueName, id, lease, cancelled, written]) => ({
    queueName: queueName as string,
    id: id as string,
    lease: Number(lease),
    cancelled: cancelled === 'true',
    written: written === 'true',
  }));
}

const releaseUnheld = statement(
  'release unheld',
  ['queue', 'worker', 'held'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const col = bare(db.jobs);
    return sql`
      with held as materialized (select id from jsonb_array_elements_text(${p.held}::jsonb) as h(id)),
      unheld as materialized (
        select ${j}.ctid from ${db.jobs} as ${j}
        where ${j.queueName} = ${p.queue} and ${j.state} = 'active' and ${j.lockedBy} = ${p.worker}
          and ${j.id} not in (select id from held)
        for update skip locked)
      update ${db.jobs} as ${j} set ${col.state} = 'waiting', ${col.lockUntil} = null, ${col.lockedBy} = null,
        ${col.processedAt} = null
      where ${j}.ctid = any(array(select ctid from unheld)) and ${stillIn(j, 'active')} and ${j.lockedBy} = ${p.worker}
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/**
 * Gives back what this worker has claimed without knowing it: the answer to the claim was lost with its connection.
 * Without this those jobs would wait for their lease to run out, and count as stalled. True when there were any.
 */
export async function releaseUnknownLeases(
  executor: Executor,
  queueName: string,
  workerId: string,
  heldIds: readonly string[],
): Promise<boolean> {
  const rows = await executor.run(releaseUnheld, { queue: queueName, worker: workerId, held: JSON.stringify(heldIds) });
  return rows.length > 0;
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { instantOf, interval, now } from '../../db/time.js';
import { heldBy, heldIfLeased, LEASE_PARAMS, type Lease, leaseValues } from '../rules/lease.js';
import { inState, live } from '../rules/states.js';
import { type ChangeAnswer, change, readAnswer } from './change.js';

const hasNotEnded = (db: Tables) => live(alias(db.jobs, 'j').state);
const isDelayed = (db: Tables) => inState(alias(db.jobs, 'j'), 'delayed');

const redelay = change(
  'change delay',
  ['ms'],
  (db, p) => ({
    allowed: isDelayed(db),
    set: sql`${bare(db.jobs).delayUntil} = ${now} + ${interval(p.ms)}`,
  }),
  { repeatable: true },
);

/** A delayed job runs in `ms` from now, by the database's clock. */
export async function changeDelay(
  executor: Executor,
  queueName: string,
  id: string,
  ms: number,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(redelay, { queue: queueName, id, ms }));
}

const postpone = change('delay job', ['until', ...LEASE_PARAMS], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  return {
    // A cancelled job ends as cancelled: it must not run once more.
    allowed: sql`case when ${p.lease} is null then ${j.state} in ('waiting', 'delayed')
      else ${heldBy(j, sql`${p.lease}::int`, p.worker)} and ${j.cancelledAt} is null end`,
    // A postponed job queues behind the others; and an active one leaves its lease.
    set: sql`${col.state} = 'delayed', ${col.delayUntil} = ${instantOf(p.until)}, ${col.seq} = ${db.nextSeq},
      ${col.lease} = case when ${j.state} = 'active' then ${j.lease} + 1 else ${j.lease} end,
      ${col.lockUntil} = null, ${col.lockedBy} = null`,
  };
});

/** Postpones a waiting or delayed job until a time (epoch ms), or with a lease the active job that it holds. */
export async function delayOne(
  executor: Executor,
  queueName: string,
  id: string,
  untilMs: number,
  lease: Lease | null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(postpone, { queue: queueName, id, until: untilMs, ...leaseValues(lease) }));
}

const reprioritise = change(
  'change priority',
  ['priority'],
  (db, p) => {
    const { opts } = alias(db.jobs, 'j');
    const option = sql`jsonb_build_object('priority', ${p.priority}::int)`;
    return {
      allowed: hasNotEnded(db),
      set: sql`${bare(db.jobs).priority} = ${p.priority}::int,
        ${bare(db.jobs).opts} = case when jsonb_typeof(${opts}) = 'object' then ${opts} || ${option} else ${option} end`,
    };
  },
  { repeatable: true },
);

/** Moves a job that has not ended to another priority; inside it, it keeps its place by age. */
export async function changePriority(
  executor: Executor,
  queueName: string,
  id: string,
  priority: number,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(reprioritise, { queue: queueName, id, priority }));
}

const replaceData = change(
  'update data',
  ['data', ...LEASE_PARAMS],
  (db, p) => ({
    allowed: sql`${hasNotEnded(db)} and ${heldIfLeased(alias(db.jobs, 'j'), p)}`,
    set: sql`${bare(db.jobs).data} = ${p.data}::jsonb`,
  }),
  { repeatable: true },
);

/** Replaces the payload (JSON text) of a job that has not ended; with a lease only while that holds it. */
export async function updateData(
  executor: Executor,
  queueName: string,
  id: string,
  data: string,
  lease: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(replaceData, { queue: queueName, id, data, ...leaseValues(lease) }));
}

const discard = change(
  'discard job',
  [...LEASE_PARAMS],
  (db, p) => ({
    allowed: sql`${hasNotEnded(db)} and ${heldIfLeased(alias(db.jobs, 'j'), p)}`,
    set: sql`${bare(db.jobs).discarded} = true`,
  }),
  { repeatable: true },
);

/** No more retries for a job that has not ended; with a lease only while that holds it. */
export async function discardOne(
  executor: Executor,
  queueName: string,
  id: string,
  lease: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(discard, { queue: queueName, id, ...leaseValues(lease) }));
}

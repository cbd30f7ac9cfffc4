import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { instantOf, interval, now } from '../../db/time.js';
import { heldIfLeased, LEASE_PARAMS, type Lease, type LeaseSlots, leaseValues } from '../rules/lease.js';
import { inState, live } from '../rules/states.js';
import { type ChangeAnswer, change, readAnswer } from './change.js';

const hasNotEnded = (db: Tables) => live(alias(db.jobs, 'j').state);
const isDelayed = (db: Tables) => inState(alias(db.jobs, 'j'), 'delayed');
/** Active, and with a lease under that. */
const isActive = (db: Tables, p: LeaseSlots) => {
  const j = alias(db.jobs, 'j');
  return sql`${inState(j, 'active')} and ${heldIfLeased(j, p)}`;
};

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
    allowed: sql`${isActive(db, p)} and ${j.cancelledAt} is null`,
    // Its worker holds it no more, and it queues behind the others.
    set: sql`${col.state} = 'delayed', ${col.delayUntil} = ${instantOf(p.until)}, ${col.seq} = ${db.nextSeq},
      ${col.lease} = ${j.lease} + 1, ${col.lockUntil} = null, ${col.lockedBy} = null`,
  };
});

/**
 * Postpones an active job until a time (epoch ms), with a lease only while that holds it. Its attempt does not count, and
 * its worker loses it. Refused for a job that was cancelled.
 */
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
    const j = alias(db.jobs, 'j');
    const { opts } = j;
    const option = sql`jsonb_build_object('priority', ${p.priority}::int)`;
    return {
      allowed: sql`${inState(j, 'waiting')} or ${inState(j, 'delayed')}`,
      set: sql`${bare(db.jobs).priority} = ${p.priority}::int,
        ${bare(db.jobs).opts} = case when jsonb_typeof(${opts}) = 'object' then ${opts} || ${option} else ${option} end`,
    };
  },
  { repeatable: true },
);

/** Moves a waiting or delayed job to another priority; inside it, it keeps its place by age. */
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
    allowed: isActive(db, p),
    set: sql`${bare(db.jobs).discarded} = true`,
  }),
  { repeatable: true },
);

/** No more retries for an active job; with a lease only while that holds it. */
export async function discardOne(
  executor: Executor,
  queueName: string,
  id: string,
  lease: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(discard, { queue: queueName, id, ...leaseValues(lease) }));
}

import { type SQL, sql } from 'drizzle-orm';
import { alias, type Jobs, type Tables } from '../../../db/tables.js';
import { ended, inState, live } from '../../rules/states.js';
import { invariant, type Offenders, told } from './invariant.js';

const jobs =
  (facts: (keyof Jobs['_']['columns'])[], where: (j: Jobs, db: Tables) => SQL) =>
  (db: Tables): Offenders => {
    const j = alias(db.jobs, 'j');
    return {
      queue: j.queueName,
      id: j.id,
      detail: told(Object.fromEntries(facts.map((name) => [j[name].name, j[name]]))),
      rows: sql`from ${db.jobs} as ${j} where ${where(j, db)}`,
    };
  };

/** What the columns of one job must agree on. */
export const JOB_INVARIANTS = [
  // A claim sets both, and every end of an attempt clears both.
  invariant(
    'active-without-lease',
    jobs(
      ['lockedBy', 'lockUntil'],
      (j) => sql`${inState(j, 'active')} and (${j.lockedBy} is null or ${j.lockUntil} is null)`,
    ),
  ),
  invariant(
    'lease-without-active',
    jobs(
      ['state', 'lockedBy', 'lockUntil'],
      (j) => sql`not ${inState(j, 'active')} and (${j.lockedBy} is not null or ${j.lockUntil} is not null)`,
    ),
  ),
  // A start is recorded under the lease that holds then; later leases are larger.
  invariant(
    'start-beyond-lease',
    jobs(['startedLease', 'lease'], (j) => sql`${j.startedLease} > ${j.lease}`),
  ),
  // It would never be due.
  invariant(
    'delayed-without-time',
    jobs(['state'], (j) => sql`${inState(j, 'delayed')} and ${j.delayUntil} is null`),
  ),
  // Lists are in the order of these times, and what is cleaned goes by them.
  invariant(
    'ended-without-time',
    jobs(
      ['state'],
      (j) => sql`(${inState(j, 'completed')} and ${j.completedAt} is null)
        or (${inState(j, 'failed')} and ${j.failedAt} is null)`,
    ),
  ),
  invariant(
    'live-with-removal-time',
    jobs(['state', 'removeAt'], (j) => sql`${j.removeAt} is not null and ${live(j.state)}`),
  ),
  // A cancelled job never runs again: it has ended, or its handler is ending.
  invariant(
    'cancelled-but-waiting',
    jobs(
      ['state', 'cancelledAt'],
      (j) => sql`${j.cancelledAt} is not null and not ${inState(j, 'active')} and not ${ended(j.state)}`,
    ),
  ),
  // What is added next would come before it.
  invariant(
    'order-beyond-sequence',
    jobs(['seq'], (j, db) => sql`${j.seq} > coalesce(pg_sequence_last_value(${db.jobsSequence}), 0)`),
  ),
] as const;

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, type Jobs } from '../../db/tables.js';
import type { JobState } from '../../model/job.js';
import { inState } from '../rules/states.js';
import { type DeletionStatements, deletion } from './delete.js';

/** Which jobs of a queue and state go, beside those two. */
export interface Bound<K extends string> {
  /** Begins the statements' names. */
  readonly label: string;
  readonly params: readonly K[];
  where(j: Jobs, p: { readonly [P in K]: SQL }): SQL;
}

/** Jobs that were there at a `Horizon`. */
export const beforeSeq = (label: string): Bound<'seq'> => ({
  label,
  params: ['seq'],
  where: (j, p) => sql`abs(${j.seq}) < ${p.seq}::bigint`,
});

function indexOrder(j: Jobs, state: JobState): SQLWrapper {
  switch (state) {
    case 'waiting':
      return sql`${j.priority}, ${j.seq}`;
    case 'waiting-children':
      return j.seq;
    case 'delayed':
      return j.delayUntil;
    case 'active':
      return j.groupId;
    case 'completed':
      return sql`${j.completedAt}, ${j.seq}`;
    case 'failed':
      return sql`${j.failedAt}, ${j.seq}`;
  }
}

/** Removes a queue's jobs of one state. */
export function deletionInState<const K extends string>(
  state: JobState,
  bound: Bound<K>,
): DeletionStatements<K | 'queue'> {
  return deletion<K | 'queue'>({
    name: `${bound.label} ${state}`,
    params: ['queue', ...bound.params],
    ended: state === 'completed' || state === 'failed',
    where: (j, p) => sql`${j.queueName} = ${(p as Queue).queue} and ${inState(j, state)} and ${bound.where(j, p)}`,
    order: (j) => indexOrder(j, state),
  });
}

type Queue = { readonly queue: SQLWrapper };

/**
 * Deletes waiting parents from the root down: a parent that were deleted a statement after its child would first be
 * treated by its policy, and fail instead. Jobs whose parents form a circle (no flow has one) are left to
 * `deletionInState`.
 */
export function deletionOfRoots<const K extends string>(bound: Bound<K>): DeletionStatements<K | 'queue'> {
  return deletion<K | 'queue'>({
    name: `${bound.label} waiting-children from the root`,
    params: ['queue', ...bound.params],
    ended: false,
    where: (j, p, db) => {
      const h = alias(db.jobs, 'h');
      const queue = (p as Queue).queue;
      const goes = (x: Jobs) => sql`${inState(x, 'waiting-children')} and ${bound.where(x, p)}`;
      // A probe of the primary key per job: what is in the CASE is no reason to read another index.
      const parent = sql`(select true from ${db.jobs} as ${h} where ${h.queueName} = ${queue} and ${h.id} = ${j.parentId}
        and (case when ${goes(h)} then true else false end) limit 1)`;
      return sql`${j.queueName} = ${queue} and ${goes(j)}
        and (${j.parentId} is null or ${j.parentQueueName} <> ${queue} or ${parent} is null)`;
    },
    order: (j) => j.seq,
  });
}

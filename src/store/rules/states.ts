import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, type Jobs, literal, type Tables } from '../../db/tables.js';
import { JOB_STATES, type JobState } from '../../model/job.js';

/** A state as a literal: as a parameter it would lose the partial indexes under a generic plan. */
export function inState(j: Jobs, state: JobState): SQL {
  return sql`${j.state} = ${literal(state)}`;
}

/** Completed or failed, as the predicates of the indexes say it. */
export const ended = (state: SQLWrapper): SQL => sql`${state} in ('completed', 'failed')`;
export const live = (state: SQLWrapper): SQL => sql`${state} not in ('completed', 'failed')`;

/** The same in TypeScript. */
export const isEnded = (state: JobState): state is 'completed' | 'failed' =>
  state === 'completed' || state === 'failed';

/**
 * A locked row, found by its place, still has the state that it was locked for. As a CASE, so that no index is chosen for
 * it: without statistics about such rows, the planner takes reading all of the state's index for as cheap as reading the
 * few rows by their place.
 */
export function stillIn(j: Jobs, state: JobState): SQL {
  return sql`(case ${j.state} when ${literal(state)} then true else false end)`;
}

/** One of something for each state, such as a statement. */
export function perState<T>(make: (state: JobState) => T): Readonly<Record<JobState, T>> {
  return Object.fromEntries(JOB_STATES.map((state) => [state, make(state)])) as Record<JobState, T>;
}

/**
 * Jobs of a queue, whatever their state: each state has an index that begins with the queue, the table as a whole has
 * none.
 */
export function inQueue(j: Jobs, queue: SQLWrapper): SQL {
  const parts = JOB_STATES.map((state) => sql`${j.queueName} = ${queue} and ${inState(j, state)}`);
  return sql`(${sql.join(parts, sql` or `)})`;
}

/** A value out of any one job of a queue, found with a probe of an index; null if it has no job. */
export function ofAnyJob(db: Tables, queue: SQLWrapper, value: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const probes = JOB_STATES.map(
    (state) =>
      sql`(select ${value} from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${inState(j, state)} limit 1)`,
  );
  return sql`coalesce(${sql.join(probes, sql`, `)})`;
}

/** When a job of a state ended; null for states that are not an end. */
export function finishTime(j: Jobs, state: JobState): SQLWrapper | null {
  if (state === 'completed') return j.completedAt;
  return state === 'failed' ? j.failedAt : null;
}

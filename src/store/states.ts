import { type SQL, sql } from 'drizzle-orm';
import type { Relations } from '../db/relation.js';
import { JOB_STATES, type JobState } from '../model/job.js';

type JobNames = ReturnType<Relations['jobs']['of']>;

/** A state as a literal: as a parameter it would lose the partial indexes under a generic plan. */
export function inState(j: JobNames, state: JobState): SQL {
  return sql`${j.state} = ${sql.raw(`'${state}'`)}`;
}

/**
 * A row that is locked, and found by its place, is still what it was locked for. As a CASE, because no index shall be
 * found for it: where the planner has not heard of such rows yet, reading all of the state's index seems as good to it
 * as the few rows by their place.
 */
export function stillIn(j: JobNames, state: JobState): SQL {
  return sql`(case ${j.state} when ${sql.raw(`'${state}'`)} then true else false end)`;
}

/** One of something for each state, such as a statement. */
export function perState<T>(make: (state: JobState) => T): Readonly<Record<JobState, T>> {
  return Object.fromEntries(JOB_STATES.map((state) => [state, make(state)])) as Record<JobState, T>;
}

/** When a job of a state came to its end; null for states that are not an end. */
export function finishTime(j: JobNames, state: JobState): SQL | null {
  if (state === 'completed') return j.completedAt;
  return state === 'failed' ? j.failedAt : null;
}

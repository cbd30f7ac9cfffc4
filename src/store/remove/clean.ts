import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import type { Jobs } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import type { Duration, JobState } from '../../model/job.js';
import { durationIn } from '../../model/options/duration.js';
import { assertJobState, validateQueueName } from '../../model/options/names.js';
import { leaseExpired } from '../rules/lease.js';
import { finishTime, perState } from '../rules/states.js';
import { type BulkResult, combine, cutoff } from './chunks.js';
import { deleteAll } from './delete.js';
import { type Bound, deletionInState, deletionOfRoots } from './delete-in-state.js';

/** 6,000 years: before that Postgres has no times, and no job is as old. */
const MAX_GRACE_MS = 2e14;

const older = (time: (j: Jobs) => SQLWrapper): Bound<'before'> => ({
  label: 'clean',
  params: ['before'],
  where: (j, p) => sql`${time(j)} < ${instantOf(p.before)}`,
});

const createdBefore = older((j) => j.createdAt);

/** An active job with a live lock belongs to a worker. */
const abandoned: Bound<'before'> = {
  ...createdBefore,
  where: (j, p) => sql`${createdBefore.where(j, p)} and ${leaseExpired(j)}`,
};

/** A finished job that lacks the time of its end, because `updateJob` was not given it, is as old as its creation. */
const endUnknown = (state: JobState): Bound<'before'> => ({
  label: 'clean without end',
  params: ['before'],
  where: (j, p) => sql`${finishTime(j, state) as SQL} is null and ${createdBefore.where(j, p)}`,
});

function statementsFor(state: JobState) {
  switch (state) {
    case 'completed':
    case 'failed':
      return [
        deletionInState(
          state,
          older((j) => finishTime(j, state) as SQL),
        ),
        deletionInState(state, endUnknown(state)),
      ];
    case 'waiting-children':
      return [deletionOfRoots(createdBefore), deletionInState(state, createdBefore)];
    case 'active':
      return [deletionInState(state, abandoned)];
    default:
      return [deletionInState(state, createdBefore)];
  }
}

const statements = perState(statementsFor);

/**
 * Removes jobs of a state that are older than `grace`, by the database's clock: by the end of finished jobs, else by
 * their creation.
 */
export async function clean(
  executor: Executor,
  queueName: string,
  state: JobState,
  grace: Duration,
): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  assertJobState(state);
  const graceMs = durationIn(grace, 'grace', 0, Number.MAX_SAFE_INTEGER);
  const before = (await cutoff(executor)).time - Math.min(graceMs, MAX_GRACE_MS);
  const done: BulkResult[] = [];
  for (const each of statements[state]) done.push(await deleteAll(executor, each, { queue, before }));
  return combine(...done);
}

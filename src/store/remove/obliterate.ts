import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { ConveyorError } from '../../model/errors.js';
import type { JobState } from '../../model/job.js';
import { validateQueueName } from '../../model/options/names.js';
import { countActive } from '../read/count.js';
import { pauseName, resumeName } from '../read/pauses.js';
import { ALL_NAMES } from '../rules/metrics-buckets.js';
import { ofAnyJob, perState } from '../rules/states.js';
import { type BulkResult, combine, cutoff, NO_CHANGE } from './chunks.js';
import { deleteAll } from './delete.js';
import { beforeSeq, deletionInState, deletionOfRoots } from './delete-in-state.js';
import { waitForOpenWriters } from './open-writers.js';
import { deleteAllSchedules, deleteQueueRows } from './queue-rows.js';

/** Each round takes what was there when it began; a queue that is still added to is not chased for ever. */
const ROUNDS = 10;

const bound = beforeSeq('obliterate');
const roots = deletionOfRoots(bound);
const inState = perState((state) => deletionInState(state, bound));
/** In the order in which a job goes from one state to the next, so that none is missed on its way. */
const STATES: readonly JobState[] = ['waiting-children', 'active', 'delayed', 'waiting', 'completed', 'failed'];
const ALL = [roots, ...STATES.map((state) => inState[state])];
const INACTIVE = ALL.filter((deletion) => deletion !== inState.active);

const selectAnyJob = statement(
  'any job of queue',
  ['queue'],
  (db, p) => {
    return sql`select ${columns(sql`${ofAnyJob(db, p.queue, sql`true`)} is not null`)}`;
  },
  { repeatable: true },
);

/**
 * Deletes everything of a queue, in every table. Without `force` it refuses while jobs are active.
 *
 * No job is claimed between the check for active jobs and the end of the deletion, although they are separate
 * statements: the queue is paused first, then claims that had begun before are waited for, and only then is it checked.
 * After a refusal the queue goes on as before. If this process dies on the way, the queue stays paused with what is left
 * of it, and calling this again does the rest. (If the queue is resumed meanwhile, jobs may start; they are not deleted,
 * and the call rejects with the rest gone.)
 *
 * @throws ConveyorError `ACTIVE_JOBS_EXIST`; `QUEUE_BUSY` when a transaction that writes jobs does not end
 */
export async function obliterate(executor: Executor, queueName: string, force: boolean): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  const done = force ? await removeQueue(executor, queue, true) : await whileStopped(executor, queue);
  // The queue's own jobs are gone whatever became of them on the way.
  return { count: done.count, parents: done.parents.filter((parent) => parent.queueName !== queue) };
}

async function whileStopped(executor: Executor, queue: string): Promise<BulkResult> {
  // Most refusals need no pause at all.
  await refuseActive(executor, queue);
  const stopped = await pauseName(executor, queue, ALL_NAMES);
  try {
    await waitForOpenWriters(executor, queue);
    await refuseActive(executor, queue);
  } catch (error) {
    if (stopped) await resumeName(executor, queue, ALL_NAMES);
    throw error;
  }
  return removeQueue(executor, queue, false);
}

async function refuseActive(executor: Executor, queue: string): Promise<void> {
  const active = await countActive(executor, queue);
  if (active === 0) return;
  throw new ConveyorError(
    `Queue "${queue}" cannot be obliterated: active jobs exist (${active}). Wait for them, or use { force: true }.`,
    { code: 'ACTIVE_JOBS_EXIST' },
  );
}

async function removeQueue(executor: Executor, queue: string, force: boolean): Promise<BulkResult> {
  // Schedules first: they would make new jobs.
  await deleteAllSchedules(executor, queue);
  let done = NO_CHANGE;
  for (let round = 0; round < ROUNDS; round++) {
    const { seq } = await cutoff(executor);
    for (const statements of force ? ALL : INACTIVE) {
      done = combine(done, await deleteAll(executor, statements, { queue, seq }));
    }
    if (!force) await refuseActive(executor, queue);
    const [row] = await executor.run(selectAnyJob, { queue });
    if (row?.[0] !== 'true') break;
  }
  await deleteQueueRows(executor, queue);
  return done;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, type Jobs, type Tables } from '../../db/tables.js';
import { inState, live } from './states.js';

/**
 * The jobs of a schedule. The job of the next tick exists one tick ahead: `delayed` until exactly that tick and never
 * begun. Only its schedule makes it waiting (`store/schedules/advance.ts`), under the lock of the schedule's row, so
 * that the overlap policy is decided in one place. Every other job of the schedule is a job like any other.
 */

/**
 * Which version of a schedule's row this is. A locked row is read in its newest version, its jobs as the statement's
 * snapshot has them: they belong together only if the snapshot has the same version of the row.
 */
export const versionOf = (s: Tables['schedules']): SQL => sql`${s}.xmin::text`;

/** Nothing of job `j` has run: it has not been claimed, not even in a life before a retry. */
export const unstarted = (j: Jobs): SQL =>
  sql`${j.state} in ('waiting', 'delayed') and ${j.attemptsMade} = 0 and ${j.processedAt} is null
    and ${j.attemptLogs} = '[]'::jsonb`;

/** Jobs of a schedule that have not ended, in the words of the index that serves them without the ended ones. */
export const liveJobOf = (j: Jobs, queue: SQLWrapper, key: SQLWrapper): SQL =>
  sql`${j.queueName} = ${queue} and ${j.scheduleKey} = ${key} and ${live(j.state)}`;

/** Job `j` of a schedule is that of its next tick. */
export const isAhead = (j: Jobs, tick: SQLWrapper): SQL =>
  sql`${inState(j, 'delayed')} and ${j.delayUntil} = ${tick} and ${unstarted(j)}`;

/** Job `j` is that of the next tick of a schedule that exists. */
export function belongsToTick(db: Tables, j: Jobs): SQL {
  const s = alias(db.schedules, 's');
  // Most jobs have no schedule: CASE reads nothing for them.
  return sql`(case when ${j.scheduleKey} is null then false else coalesce((select ${isAhead(j, s.tickAt)}
    from ${db.schedules} as ${s} where ${s.queueName} = ${j.queueName} and ${s.key} = ${j.scheduleKey}), false) end)`;
}

/** The policy in options, `skip` by default. */
export const overlapOf = (opts: SQLWrapper): SQL => sql`coalesce(${opts} #>> '{repeat,overlap}', 'skip')`;

interface Run {
  readonly queue: SQLWrapper;
  readonly key: SQLWrapper;
  readonly overlap: SQLWrapper;
  /** Live jobs of the schedule that do not count. */
  except(k: Jobs): SQL;
}

/**
 * Whether earlier jobs of a schedule keep a new one from becoming waiting: under `skip` any that has not ended, under
 * `queue` one that is waiting or two that have not ended, under `all` none. Reads two rows at most.
 */
export function overlaps(db: Tables, { queue, key, overlap, except }: Run): SQL {
  const k = alias(db.jobs, 'k');
  // Not filtered by the state in SQL's `where`: the planner might then read all waiting jobs of the queue.
  return sql`(case when ${overlap} = 'all' then false else (
    select case ${overlap} when 'queue' then count(*) = 2 or coalesce(bool_or(state = 'waiting'), false) else count(*) > 0 end
    from (select ${k.state} as state from ${db.jobs} as ${k}
      where ${liveJobOf(k, queue, key)} and (${except(k)}) is not true limit 2) two) end)`;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { type Statement, statement } from '../../db/statement.js';
import { alias, type Jobs, type Tables } from '../../db/tables.js';
import type { JobState } from '../../model/job.js';
import { assertJobState, integerIn, validateQueueName } from '../../model/options/names.js';
import { jobColumns, readJob } from '../rows/job-row.js';
import type { StoredJob } from '../rows/stored-job.js';
import { leaseExpired } from '../rules/lease.js';
import { finishTime, inState, perState } from '../rules/states.js';

/**
 * The rows of a page, of which `page(ctid)` is chosen first: what is sorted and passed over is a few bytes a row, and
 * the jobs themselves are read only for the page. By `ctid` with ANY(ARRAY()): a join would be planned for the tenth
 * part of the table, which is what a generic plan takes a limit for.
 */
export function rowsOfPage(j: Jobs): SQL {
  return sql`${j}.ctid = any(array(select ctid from page))`;
}

/** As page and offset: `end` is exclusive. */
export function pageOf(start: number, end: number): { limit: number; offset: number } {
  integerIn(start, 'start', 0, Number.MAX_SAFE_INTEGER);
  integerIn(end, 'end', 0, Number.MAX_SAFE_INTEGER);
  return { limit: Math.max(0, end - start), offset: start };
}

const ASCENDING = sql``;
const DESCENDING = sql`desc`;

/** The first `most` rows that a page may be made of, with what they are ordered by: `at`, then `seq`. */
function branch(db: Tables, where: SQLWrapper, at: SQLWrapper, direction: SQLWrapper, most: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  return sql`(select ${j}.ctid as ctid, ${at} as at, ${j.seq} as seq from ${db.jobs} as ${j} where ${where}
    order by ${at} ${direction}, ${j.seq} ${direction} limit ${most})`;
}

/**
 * By finish time where there is one, else by creation. A finished job may lack the time (`updateJob` need not give
 * it): two branches, each in an order of its own, so that the index delivers the many.
 */
function listStatement(state: JobState): Statement<'queue' | 'limit' | 'offset'> {
  return statement(
    `list ${state}`,
    ['queue', 'limit', 'offset'],
    (db, p) => {
      const j = alias(db.jobs, 'j');
      const most = sql`${p.limit}::bigint + ${p.offset}::bigint`;
      const ofState = sql`${j.queueName} = ${p.queue} and ${inState(j, state)}`;
      const finish = finishTime(j, state);
      const direction = finish ? DESCENDING : ASCENDING;
      const rows = finish
        ? sql`${branch(db, sql`${ofState} and ${finish} is not null`, finish, direction, most)}
          union all ${branch(db, sql`${ofState} and ${finish} is null`, j.createdAt, direction, most)}`
        : branch(db, ofState, j.createdAt, direction, most);
      return sql`
        with page as (
          select ctid from (${rows}) r order by r.at ${direction}, r.seq ${direction}
          limit ${p.limit}::bigint offset ${p.offset}::bigint)
        select ${jobColumns(j)} from ${db.jobs} as ${j} where ${rowsOfPage(j)}
        order by ${finish ? sql`coalesce(${finish}, ${j.createdAt})` : j.createdAt} ${direction}, ${j.seq} ${direction}`;
    },
    { repeatable: true },
  );
}

const selectPage = perState(listStatement);

/** Completed and failed jobs newest finish first, others oldest first; `end` is exclusive. */
export async function listJobs(
  executor: Executor,
  queueName: string,
  state: JobState,
  start: number,
  end: number,
): Promise<StoredJob[]> {
  const queue = validateQueueName(queueName);
  assertJobState(state);
  const page = pageOf(start, end);
  if (page.limit === 0) return [];
  return (await executor.run(selectPage[state], { queue, ...page })).map((row) => readJob(row));
}

/**
 * Jobs that a flow made parents, by an index of their own, and jobs that wait for children which they only count.
 * `state` undefined: in any state.
 */
const flowParents = (state: JobState | undefined) =>
  statement(
    `list flow parents${state ? ` ${state}` : ''}`,
    ['limit'],
    (db, p) => {
      const j = alias(db.jobs, 'j');
      const most = sql`${p.limit}::bigint`;
      const newest = (where: SQLWrapper) => branch(db, where, j.createdAt, DESCENDING, most);
      const named = sql`${j.childrenIds} <> '[]'::jsonb${state ? sql` and ${inState(j, state)}` : sql``}`;
      const counting = sql`${inState(j, 'waiting-children')} and ${j.childrenIds} = '[]'::jsonb`;
      const rows =
        state === undefined || state === 'waiting-children'
          ? sql`${newest(named)} union all ${newest(counting)}`
          : newest(named);
      return sql`
        with page as (select ctid from (${rows}) r order by r.at desc, r.seq desc limit ${most})
        select ${jobColumns(j)} from ${db.jobs} as ${j} where ${rowsOfPage(j)} order by ${j.createdAt} desc, ${j.seq} desc`;
    },
    { repeatable: true },
  );
const anyFlowParents = flowParents(undefined);
const flowParentsInState = perState(flowParents);

/** Jobs that have children, newest first. */
export async function listFlowParents(
  executor: Executor,
  state: JobState | undefined,
  limit: number,
): Promise<StoredJob[]> {
  if (state !== undefined) assertJobState(state);
  integerIn(limit, 'limit', 0, Number.MAX_SAFE_INTEGER);
  if (limit === 0) return [];
  return (await executor.run(state ? flowParentsInState[state] : anyFlowParents, { limit })).map((row) => readJob(row));
}

const selectStalled = statement(
  'stalled jobs',
  ['queue'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${jobColumns(j)} from ${db.jobs} as ${j}
      where ${j.queueName} = ${p.queue} and ${j.state} = 'active' and ${leaseExpired(j)}
      order by ${j.lockUntil} nulls first, ${j.seq}`;
  },
  { repeatable: true },
);

/** Active jobs whose lease has run out, or that never had one. */
export async function stalledJobs(executor: Executor, queueName: string): Promise<StoredJob[]> {
  return (await executor.run(selectStalled, { queue: validateQueueName(queueName) })).map((row) => readJob(row));
}

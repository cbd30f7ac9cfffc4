import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { cte } from '../../db/cte.js';
import { alias, type Jobs, literal, type Tables } from '../../db/tables.js';
import { ALL_NAMES } from '../rules/metrics-buckets.js';
import { notSetAside } from '../rules/set-aside.js';
import { bytesBefore, payloadBytes, withinBytes } from './bytes.js';

/** Which waiting jobs may be claimed, and in what order. */

/** The queue's paused names as one array, `names`; `__all__` among them pauses the queue. */
export const paused = cte('paused', ['names']);

export function pausedNames(db: Tables, queue: SQLWrapper): SQL {
  const n = alias(db.pausedNames, 'n');
  return paused.as(sql`select coalesce(array_agg(${n.jobName}), '{}'::text[])
    from ${db.pausedNames} as ${n} where ${n.queueName} = ${queue}`);
}

const names = sql`(select ${paused.names} from ${paused.table})::text[]`;

/** The queue as a whole is not paused. */
export const running: SQL = sql`not (${literal(ALL_NAMES)} = any(${names}))`;

/**
 * May be claimed: its name is not paused, and is the wanted one. Whether the whole queue is paused is a condition of its
 * own, decided once and not per waiting job. The CASE keeps the planner from estimating that hardly any row passes: it
 * would then read and sort the whole backlog instead of the head of the index.
 *
 * @param skip jobs that are set aside; undefined where none is
 */
export function claimable(j: Jobs, jobName: SQLWrapper | undefined, skip: SQLWrapper | undefined): SQL {
  const byName = jobName ? sql` and (case when ${j.name} = ${jobName} then true else false end)` : sql``;
  const spared = skip ? sql` and (case when ${notSetAside(j, skip)} then true else false end)` : sql``;
  return sql`${running} and (case when cardinality(${names}) = 0 then true
    else not ${j.name} = any(${names}) end)${byName}${spared}`;
}

/** `from` the waiting jobs of a queue, by the partial indexes of that state. */
export function waitingIn(db: Tables, queue: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  return sql`from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${j.state} = 'waiting'`;
}

/** `lifo` takes any name or one; the plain order has a variant of its own for a name. */
export const CLAIM_ORDERS = ['fifo', 'by name', 'lifo'] as const;
export type ClaimOrder = (typeof CLAIM_ORDERS)[number];

/**
 * `plain` is the usual claim. After the database has refused one, `sparing` passes over jobs that are set aside, and
 * `probe` selects what that would take, to find the job that is refused.
 */
export const CLAIM_MODES = ['plain', 'sparing', 'probe'] as const;
export type ClaimMode = (typeof CLAIM_MODES)[number];

export const claimName = (name: string, order: ClaimOrder, mode: ClaimMode): string =>
  [name, ...(order === 'fifo' ? [] : [order]), ...(mode === 'plain' ? [] : [mode])].join(' ');

export function orderOf({ lifo, jobName }: { lifo?: boolean | undefined; jobName?: string | undefined }): ClaimOrder {
  if (lifo) return 'lifo';
  return jobName === undefined ? 'fifo' : 'by name';
}

export type OrderParams = 'queue' | 'name' | 'priority' | 'seq';
/** `skip` is there unless the mode is `plain`. */
type OrderValues = Record<OrderParams, SQL> & { readonly skip?: SQL | undefined };

/** The queue's first jobs, locked, by their place. */
export const firstJobs = cte('first_jobs', ['place']);

/** `first_jobs`, up to `limit`. Needs `paused`, and for lifo `with recursive`. */
export function selectFirstJobs(db: Tables, p: OrderValues, order: ClaimOrder, limit: SQLWrapper): SQL {
  if (order === 'lifo') return newestFirst(db, p, limit);
  return oldestFirst(db, p, order === 'by name' ? p.name : undefined, limit);
}

function oldestFirst(db: Tables, p: OrderValues, name: SQLWrapper | undefined, limit: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  // Not declared as materialized: FOR UPDATE makes it run once.
  return withinLimits(sql`
    select ${j}.ctid as place, ${payloadBytes(j)} as size ${waitingIn(db, p.queue)}
      and (${j.priority}, ${j.seq}) > (${p.priority}::int, ${p.seq}::bigint) and ${claimable(j, name, p.skip)}
    order by ${j.priority}, ${j.seq} limit ${limit} for update skip locked`);
}

/** `first_jobs` of the locked rows `place, size`, up to the limit in bytes. */
function withinLimits(lockedRows: SQL): SQL {
  return firstJobs.inline(sql`
    select place from (select place, ${bytesBefore(sql`size`)} as before from (${lockedRows}) locked) summed
    where ${withinBytes(sql`before`)}`);
}

/**
 * Priority ascending but newest first inside one is not an order of the index: so it steps from priority to priority, and
 * reads each backwards, until enough rows are found.
 */
function newestFirst(db: Tables, p: OrderValues, limit: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const waiting = waitingIn(db, p.queue);
  const next = sql`order by ${j.priority}, ${j.seq} limit 1`;
  return sql`priorities as (
    (select ${j.priority} as priority ${waiting} ${next})
    union all
    select (select ${j.priority} ${waiting} and ${j.priority} > r.priority ${next})
    from priorities r where r.priority is not null),
  ${withinLimits(sql`
    select newest.place, newest.size from priorities r cross join lateral (
      select ${j}.ctid as place, ${payloadBytes(j)} as size ${waiting} and ${j.priority} = r.priority
        and ${claimable(j, undefined, p.skip)} and (${p.name} is null or ${j.name} = ${p.name})
      order by ${j.seq} desc limit ${limit} for update skip locked) newest
    limit ${limit}`)}`;
}

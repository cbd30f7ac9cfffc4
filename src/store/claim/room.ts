import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { nextFetchIn, recentFetches, withFetches } from './rate-window.js';

export type RoomParams = 'queue' | 'limit' | 'rateMax' | 'rateMs' | 'active' | 'groupMax';

/**
 * How much room a queue's limits leave: `room(outdated, rate_left, free)`. Every claim under such a limit locks the
 * queue's row in `conveyor_rate_limits`, and writes there what it claimed.
 *
 * The snapshot of a statement is older than the lock it has waited for. The limits are exact all the same:
 * - claims are counted in the locked row, which is read in its newest version;
 * - active jobs are counted in the snapshot; what other claims have added since is how far `claimed` in the locked row
 *   has grown beyond the snapshot's. Jobs that ended meanwhile still count, so this errs to one side only.
 *
 * The row is not locked where the snapshot already shows that nothing can be claimed: an idle claim writes nothing.
 *
 * @param work whether there is a job to claim
 */
export function queueRoom(db: Tables, p: Record<RoomParams, SQL>, work: SQLWrapper): SQL {
  const r = alias(db.rateLimits, 'r');
  const j = alias(db.jobs, 'j');
  const col = bare(db.rateLimits);
  const own = sql`${db.rateLimits} as ${r} where ${r.queueName} = ${p.queue}`;
  const recent = recentFetches(r.fetches, p.rateMs);
  return sql`
    active_jobs as materialized (
      select count(*) as n from (
        select 1 from ${db.jobs} as ${j} where ${p.active} is not null and ${j.queueName} = ${p.queue}
          and ${j.state} = 'active' limit ${p.active}) x),
    limits_before as materialized (
      select ${r.claimed} as claimed, ${r.fetches} as fetches,
        case when coalesce(${p.rateMax} > ${recent}, true)
          and coalesce((select n from active_jobs) < ${p.active}, true) then ${work} else false end as open
      from ${own}),
    limits_created as (
      insert into ${db.rateLimits} (${col.queueName}) select ${p.queue} where not exists (select 1 from limits_before)
      on conflict do nothing returning 1),
    limits_locked as (
      select ${r.claimed} as claimed, ${r.fetches} as fetches from ${own}
        and (select open from limits_before) and coalesce(${p.rateMax} > ${recent}, true)
      for update),
    room as materialized (
      select g.claimed > s.claimed as outdated, g.rate_left, greatest(0, least(
        ${commitMode(p)}, g.rate_left, ${p.active} - (select n from active_jobs) - (g.claimed - s.claimed)))::int as free
      from (select *, ${p.rateMax} - ${recentFetches(sql`limits_locked.fetches`, p.rateMs)} as rate_left from limits_locked offset 0) g
      cross join limits_before s)`;
}

/** `room` of a queue without limits. */
export function unlimitedRoom(p: Record<RoomParams, SQL>): SQL {
  return sql`room as materialized (select false as outdated, ${commitMode(p)} as free)`;
}

/**
 * The claim's own limit, with synchronous_commit = off as for every claim, unless it counts in a rate window: a crash
 * that loses such a count would let through what the outside world has seen already.
 */
function commitMode(p: Record<RoomParams, SQL>): SQL {
  return sql`(case when case when ${p.rateMax} is not null or ${p.groupMax} is not null then 'as it is'
    else set_config('synchronous_commit', 'off', true) end is not null then ${p.limit} end)`;
}

/**
 * By the snapshot something could be claimed, but by the time the row is locked the window is full, or the row is gone
 * (it was idle for long): the next snapshot shows which.
 */
export const limitsChanged: SQL = sql`(select open from limits_before) and not exists (select 1 from limits_locked)`;

/** To follow `claimed_jobs`: counts them in the queue's row, which is locked already. */
export function countClaimed(db: Tables, p: Record<RoomParams, SQL>): SQL {
  const r = alias(db.rateLimits, 'r');
  const col = bare(db.rateLimits);
  const window = sql`greatest(${r.windowMs}, ${p.rateMs})`;
  const at = epochMs(sql`(select at from claim_time)`);
  return sql`
    limits_updated as (
      update ${db.rateLimits} as ${r} set ${col.claimed} = ${r.claimed} + t.n, ${col.windowMs} = ${window},
        ${col.fetches} = case when ${p.rateMax} is null then ${r.fetches}
          else ${withFetches(r.fetches, at, sql`t.n`, window)} end
      from (select count(*) as n from claimed_jobs) t where ${r.queueName} = ${p.queue} and t.n > 0
      returning 1)`;
}

/** The time of the claim: read after everything is locked and counted. */
export function claimTime(locked: SQLWrapper): SQL {
  return sql`claim_time as materialized (
    select date_trunc('milliseconds', clock_timestamp()) as at from (select count(*) from ${locked}) x)`;
}

/** In how many ms the queue's rate limit allows a claim again; null: it still does. */
export function queueOpensIn(p: Record<RoomParams, SQL>): SQL {
  const used = sql`(select a.rate_left <= (select count(*) from claimed_jobs) from room a)`;
  return sql`(case when ${used} then coalesce((select ${nextFetchIn(sql`g.fetches`, p.rateMs)} from limits_locked g), ${p.rateMs} + 1)
    else (select ${nextFetchIn(sql`s.fetches`, p.rateMs)} from limits_before s
      where ${p.rateMax} <= ${recentFetches(sql`s.fetches`, p.rateMs)}) end)`;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { nextFetchIn, recentFetches, withFetches } from './rate-window.js';

export type GuardParams = 'queue' | 'limit' | 'rateMax' | 'rateMs' | 'active' | 'groupMax';

/**
 * A queue's limits are guarded by its row in `conveyor_rate_limits`: every claim under one of them locks it, and those
 * that took something write what they took.
 *
 * The snapshot of a statement is older than the lock it has waited for. What the limits count is exact all the same:
 * - fetches are counted in the locked row, which is read in its newest version;
 * - active jobs are counted in the snapshot, and what other claims have added since is how far `claimed` has grown in
 *   the locked row beyond the snapshot's. Jobs that ended meanwhile still count, so this errs to one side only.
 *
 * The row is not locked where the snapshot already shows that nothing can be taken: an idle claim writes nothing.
 */
export function guardCtes(db: Tables, p: Record<GuardParams, SQL>, work: SQLWrapper): SQL {
  const r = alias(db.rateLimits, 'r');
  const j = alias(db.jobs, 'j');
  const col = bare(db.rateLimits);
  const own = sql`${db.rateLimits} as ${r} where ${r.queueName} = ${p.queue}`;
  const recent = recentFetches(r.fetches, p.rateMs);
  return sql`
    seen as materialized (select ${r.claimed} as claimed, ${r.fetches} as fetches from ${own}),
    prepared as (
      insert into ${db.rateLimits} (${col.queueName}) select ${p.queue} where not exists (select 1 from seen)
      on conflict do nothing returning 1),
    busy as materialized (
      select count(*) as n from (
        select 1 from ${db.jobs} as ${j} where ${p.active} is not null and ${j.queueName} = ${p.queue}
          and ${j.state} = 'active' limit ${p.active}) x),
    guard as (
      select ${r.claimed} as claimed, ${r.fetches} as fetches from ${own}
        and case when coalesce(${p.rateMax} > ${recent}, true)
          and coalesce((select n from busy) < ${p.active}, true) then ${work} else false end
      for update),
    allowed as materialized (
      select g.claimed > s.claimed as outdated, g.left, greatest(0, least(
        ${commitMode(p)}, g.left, ${p.active} - (select n from busy) - (g.claimed - s.claimed)))::int as lim
      from (select *, ${p.rateMax} - ${recentFetches(sql`guard.fetches`, p.rateMs)} as left from guard offset 0) g
      cross join seen s)`;
}

/** The same without limits of the queue. */
export function unguardedCtes(p: Record<GuardParams, SQL>): SQL {
  return sql`allowed as materialized (select false as outdated, ${commitMode(p)} as lim)`;
}

/**
 * The claim's own limit, and whether its commit waits for the disk: not for the jobs, which are simply waiting again
 * if the server crashes, as with every claim; but for the fetch logs, whose loss would let fetches go out again that
 * the outside world has seen.
 */
function commitMode(p: Record<GuardParams, SQL>): SQL {
  return sql`(case when case when ${p.rateMax} is not null or ${p.groupMax} is not null then 'as it is'
    else set_config('synchronous_commit', 'off', true) end is not null then ${p.limit} end)`;
}

/** To follow `taken`: what was taken goes into the guard's row. It stands in the row that is locked already. */
export function guardUpdate(db: Tables, p: Record<GuardParams, SQL>): SQL {
  const r = alias(db.rateLimits, 'r');
  const col = bare(db.rateLimits);
  const window = sql`greatest(${r.windowMs}, ${p.rateMs})`;
  const at = epochMs(sql`(select at from stamp)`);
  return sql`
    counted as (
      update ${db.rateLimits} as ${r} set ${col.claimed} = ${r.claimed} + t.n, ${col.windowMs} = ${window},
        ${col.fetches} = case when ${p.rateMax} is null then ${r.fetches}
          else ${withFetches(r.fetches, at, sql`t.n`, window)} end
      from (select count(*) as n from taken) t where ${r.queueName} = ${p.queue} and t.n > 0
      returning 1)`;
}

/** The time of the claim: read when everything is locked, and not before what was counted was counted. */
export function stampCte(locked: SQLWrapper): SQL {
  return sql`stamp as materialized (
    select date_trunc('milliseconds', clock_timestamp()) as at from (select count(*) from ${locked}) x)`;
}

/** In how many ms the queue's rate limit lets something through again; null: it still does. */
export function guardOpensIn(p: Record<GuardParams, SQL>): SQL {
  const used = sql`(select a.left <= (select count(*) from taken) from allowed a)`;
  return sql`(case when ${used} then coalesce((select ${nextFetchIn(sql`g.fetches`, p.rateMs)} from guard g), ${p.rateMs} + 1)
    else (select ${nextFetchIn(sql`s.fetches`, p.rateMs)} from seen s
      where ${p.rateMax} <= ${recentFetches(sql`s.fetches`, p.rateMs)}) end)`;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';

/**
 * A fetch log, `[[ms, count], …]`: what a rate limit counts, kept in the row that its claimers lock. A locked row is
 * read in its newest version, so the count is exact whatever the statement's snapshot shows.
 */

/** The server's clock at the moment it is read, unlike `now()`, which stands still from the statement's start. */
const clockMs = sql`(select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as ms offset 0)`;

/** Its entries; none of a column that was changed by hand to something else. */
const entries = (log: SQLWrapper): SQL =>
  sql`jsonb_array_elements(case jsonb_typeof(${log}) when 'array' then ${log} end)`;
const at = sql`(e ->> 0)::bigint`;
const count = sql`(e ->> 1)::bigint`;

/**
 * Number of fetches within `duration` ms before or after the clock. After it, because a clock that was set back leaves
 * entries in the future; they count only while they can share a window with now. The bound itself is included, because
 * times are cut to whole ms: two fetches recorded one window apart may have been almost 1 ms closer.
 */
export function recentFetches(log: SQLWrapper, duration: SQLWrapper): SQL {
  return sql`(select coalesce(sum(${count}), 0)::bigint from ${clockMs} clock cross join ${entries(log)} e
    where abs(clock.ms - ${at}) <= ${duration})`;
}

/** ms until the oldest of these fetches has left the window. */
export function nextFetchIn(log: SQLWrapper, duration: SQLWrapper): SQL {
  return sql`(select min(${at} - clock.ms) + ${duration} + 1 from ${clockMs} clock cross join ${entries(log)} e
    where abs(clock.ms - ${at}) <= ${duration})`;
}

/** Up to so many entries are kept to the millisecond. */
const EXACT_ENTRIES = sql.raw('256');
/** Beyond, an entry may be merged with ones later by up to a 64th of its age: about 1,000 entries cover an hour. */
const FINE = sql.raw('64');
/** Beyond the longest window that was asked for, entries are kept roughly, for a longer one that may follow. */
const COARSE = sql.raw('8');
/** ms that are remembered at least, however short the windows. */
const MEMORY = sql.raw('3600000');

/**
 * The log with `n` fetches at `ms` more; `window` is the longest that was asked for. Merged entries keep the
 * later time: they count a little longer than they must, never too short.
 */
export function withFetches(log: SQLWrapper, ms: SQLWrapper, n: SQLWrapper, window: SQLWrapper): SQL {
  const length = sql`(select count(*) from ${entries(log)} e)`;
  // Powers of two: entries merged once stay merged as the grain grows, so errors do not add up.
  const grain = (parts: SQLWrapper) =>
    sql`(1::bigint << floor(ln(greatest(${ms} - t.ms, ${parts})::float8 / ${parts}) / ln(2::float8))::int)`;
  return sql`(
    select jsonb_agg(jsonb_build_array(y.ms, y.n) order by y.ms) from (
      select max(x.ms) as ms, sum(x.n) as n from (
        select t.ms, t.n, case when ${ms} - t.ms > ${window} then ${grain(COARSE)}
          when ${length} < ${EXACT_ENTRIES} then 1 else ${grain(FINE)} end as grain
        from (select ${at} as ms, ${count} as n from ${entries(log)} e union all select ${ms}, ${n}) t
        where abs(${ms} - t.ms) <= greatest(${window}, ${MEMORY})) x
      group by x.grain, x.ms / x.grain) y)`;
}

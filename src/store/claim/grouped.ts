import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { OPTIONAL, type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { bytesBefore, payloadBytes, withinBytes } from './bytes.js';
import { takenJobs, takeUnderLease } from './claim.js';
import { CLAIM_MODES, type ClaimMode, claimName, pausedNames, waitingIn } from './eligible.js';
import { eligibleGroups, wanted } from './eligible-groups.js';
import { claimAnswer, given, LIMITED_PARAMS, type LimitedParams, type LimitedValues } from './limited.js';
import { nextFetchIn, recentFetches, withFetches } from './rate-window.js';
import { claimTime, countClaimed, limitsChanged, queueOpensIn, queueRoom, unlimitedRoom } from './room.js';

type Params = LimitedValues;

interface Shape {
  mode: ClaimMode;
  lifo: boolean;
  guarded: boolean;
}

/**
 * A claim that takes jobs round-robin over their groups, the least recently served first. Jobs without a group are one
 * more group, which has no limit; its cursor has the empty name.
 *
 * A claim locks the cursors (`conveyor_group_cursors`) of the groups it takes from, and passes over those that other
 * claims have locked, so that claims take from different groups at the same time. It also passes over groups that were
 * served since its snapshot: it is no longer their turn, and what the snapshot counted is outdated. Lock order: the
 * queue's row of limits, then cursors, then jobs; only the first may be waited for.
 *
 * A group without a cursor was never served, and so comes first: the statement creates the missing cursors, claims
 * nothing, and is sent again.
 */
export const groupClaim: (shape: Shape) => Statement<LimitedParams> = variants(
  { lifo: OPTIONAL, guarded: OPTIONAL, mode: CLAIM_MODES },
  (shape, declare) => {
    const { lifo, guarded, mode } = shape;
    const name = claimName(`claim by group${guarded ? ' limited' : ''}`, lifo ? 'lifo' : 'fifo', mode);
    return declare(name, LIMITED_PARAMS, (db, params) => {
      const { cte, values: p } = given(params, mode);
      const assignments = takeUnderLease(db, p.worker, p.lock, sql`(select at from claim_time)`);
      return sql`
      with recursive ${cte},
      ${pausedNames(db, p.queue)},
      ${eligibleGroups(db, p)},
      ${guarded ? queueRoom(db, p, sql`exists (select 1 from eligible)`) : unlimitedRoom(p)},
      ${chosen(db, p, lifo)},
      ${claimTime(sql`chosen`)},
      claimed_jobs as (${takenJobs(db, sql`select place from chosen`, assignments, mode)})
      ${mode === 'probe' ? sql`` : sql`, ${cursorUpdate(db, p)}`}
      ${guarded && mode !== 'probe' ? sql`, ${countClaimed(db, p)}` : sql``}
      ${claimAnswer(
        status(shape),
        sql`(select due and many_groups from group_state)`,
        opensIn(p, guarded),
        sql`(select t.*, h.pos from claimed_jobs t join chosen h on h.id = t.c0)`,
      )} order by t.pos`;
    });
  },
);

/**
 * Locks cursors and jobs: one job of each group where there are as many groups as jobs wanted, else an even share of
 * each, in rounds.
 */
function chosen(db: Tables, p: Params, lifo: boolean): SQL {
  const c = alias(db.groupCursors, 'c');
  return sql`
    share as materialized (
      select a.free, ceil(a.free::float8 / greatest(1, (
        select count(*) from (select 1 from eligible limit a.free) x)))::int as each
      from room a where a.free > 0),
    locked_groups as materialized (
      select e.id, e.key, e.served, least(e.room, (select each from share))::int as take, c.locked
      from eligible e
      left join lateral (
        select true as locked from ${db.groupCursors} as ${c}
        where ${c.queueName} = ${p.queue} and ${c.groupId} = e.key and ${c.servedSeq} = e.served
        for update skip locked) c on true
      where exists (select 1 from share)),
    reached as (
      select t.key, t.served, t.take, h.place, h.id, h.size, h.round
      from locked_groups t cross join lateral (${groupHeads(db, p, lifo)}) h
      where t.locked
      limit (select case when each = 1 then free end from share)),
    chosen as materialized (
      select * from (
        select r.*, row_number() over (order by r.round, r.served, r.key) as pos,
          ${bytesBefore(sql`r.size`, sql`order by r.round, r.served, r.key`)} as before
        from reached r) x
      where pos <= (select free from share) and ${withinBytes(sql`before`)})`;
}

/** The first jobs of group `t`, `take` of them. `=` does not match null, so jobs without a group need their own branch. */
function groupHeads(db: Tables, p: Params, lifo: boolean): SQL {
  const j = alias(db.jobs, 'j');
  const first = sql`order by ${j.groupId}, ${j.priority}, ${j.seq}`;
  const last = sql`order by ${j.groupId} desc, ${j.priority} desc, ${j.seq} desc`;
  const branch = (own: SQLWrapper) => {
    const rows = sql`${waitingIn(db, p.queue)} and ${own} and ${wanted(db, p)}`;
    // Newest first inside a priority is not an order of the index: only the first priority is read, backwards.
    const order = lifo ? sql`and ${j.priority} = (select ${j.priority} ${rows} ${first} limit 1) ${last}` : first;
    return sql`select b.*, row_number() over () as round from (
      select ${j}.ctid as place, ${j.id} as id, ${payloadBytes(j)} as size ${rows} ${order} limit t.take for update skip locked) b`;
  };
  return sql`${branch(sql`${j.groupId} = t.id`)} union all ${branch(sql`t.id is null and ${j.groupId} is null`)}`;
}

/** Groups take their next turn in the order of their last jobs in this batch. */
function cursorUpdate(db: Tables, p: Params): SQL {
  const c = alias(db.groupCursors, 'c');
  const col = bare(db.groupCursors);
  const window = sql`greatest(${c.windowMs}, ${p.groupMs})`;
  const at = epochMs(sql`(select at from claim_time)`);
  return sql`
    served_groups as materialized (
      select s.key, s.n, ${db.nextSeq} as seq from (
        select h.key, count(*) as n from claimed_jobs t join chosen h on h.id = t.c0 group by h.key order by max(h.pos)) s),
    cursors_updated as (
      update ${db.groupCursors} as ${c} set ${col.servedSeq} = s.seq,
        ${col.lastServedAt} = (select at from claim_time), ${col.windowMs} = ${window},
        ${col.fetches} = case when ${p.groupMax} is null then ${c.fetches}
          else ${withFetches(c.fetches, at, sql`s.n`, window)} end
      from served_groups s where ${c.queueName} = ${p.queue} and ${c.groupId} = s.key
      returning 1)`;
}

/** Which answer the claim gives. The cases of a claim that got too little come last: they need all groups to have been tried. */
function status({ lifo, guarded }: Shape): SQL {
  const taken = sql`(select count(*) from claimed_jobs)`;
  const short = sql`coalesce(${taken} < (select free from share), false)`;
  const cut = lifo
    ? sql`true`
    : sql`exists (select 1 from chosen h, share s where h.round = s.each and h.take = s.each)`;
  return sql`case
    when exists (select 1 from missing_cursors)${guarded ? sql` or not exists (select 1 from limits_before)` : sql``} then 'prepared'
    when exists (select 1 from too_many_groups) then 'refresh'
    ${guarded ? sql`when ${limitsChanged} then 'contended'` : sql``}
    when ${short} and ${taken} > 0 and ${cut} then 'more'
    when ${short} and (${taken} < (select count(*) from chosen)
      or exists (select 1 from locked_groups where locked is null)) then 'contended'
    ${guarded ? sql`when ${taken} = 0 and (select outdated and free = 0 from room) then 'contended'` : sql``}
    when (select many_groups from group_state) and (${short}${guarded ? sql` or not exists (select 1 from eligible)` : sql``})
      then 'short'
    else 'done' end`;
}

/** ms until a rate limit allows the next fetch. Limits of groups are read only if the claim got less than it asked for. */
function opensIn(p: Params, guarded: boolean): SQL {
  const taken = sql`(select count(*) from claimed_jobs)`;
  const groups = sql`case when ${p.groupMax} is not null and ${taken} < ${p.limit} then least(
    case when ${taken} > 0 then ${p.groupMs} + 1 end,
    (select min(${nextFetchIn(sql`k.fetches`, p.groupMs)}) from group_order k
      where k.id is not null and ${p.groupMax} <= ${recentFetches(sql`k.fetches`, p.groupMs)})) end`;
  return guarded ? sql`least(${groups}, ${queueOpensIn(p)})` : groups;
}

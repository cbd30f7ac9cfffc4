import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { OPTIONAL, type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { claimedColumns } from '../rows/job-row.js';
import { pausedNames, stillWaiting, takeUnderLease } from './claim.js';
import { lineCtes, waitingIn, wanted } from './group-order.js';
import { guardCtes, guardOpensIn, guardUpdate, stampCte, unguardedCtes } from './guard.js';
import { claimAnswer, given, LIMITED_PARAMS, type LimitedParams } from './limited.js';
import { nextFetchIn, recentFetches, withFetches } from './rate-window.js';

type Params = Record<LimitedParams, SQL>;

interface Shape {
  lifo: boolean;
  guarded: boolean;
}

/**
 * A claim that takes jobs round-robin over their groups, the least recently served first. Jobs without a group are one
 * more, which no group's limit holds for; its cursor has the empty name.
 *
 * The row of a group in `conveyor_group_cursors` is its guard. A claim locks those it takes from, passing over what
 * others have locked, so that claimers take different groups at the same time; and those that were served since its
 * snapshot, for then it is not their turn any more, and what was counted in the snapshot is void. Lock order: the queue's
 * row, then cursors, then jobs; only the first may be waited for.
 *
 * A group that has no cursor yet was never served, and so is first in line: the statement makes the cursors that are
 * missing and takes nothing, and is asked again.
 */
export const groupClaim: (shape: Shape) => Statement<LimitedParams> = variants(
  { lifo: OPTIONAL, guarded: OPTIONAL },
  (shape, declare) => {
    const { lifo, guarded } = shape;
    return declare(`claim by group${guarded ? ' limited' : ''}${lifo ? ' lifo' : ''}`, LIMITED_PARAMS, (db, params) => {
      const { cte, values: p } = given(params);
      const j = alias(db.jobs, 'j');
      return sql`
      with recursive ${cte},
      paused as materialized (${pausedNames(db, p.queue)}),
      ${lineCtes(db, p)},
      ${guarded ? guardCtes(db, p, sql`exists (select 1 from eligible)`) : unguardedCtes(p)},
      ${chosen(db, p, lifo)},
      ${stampCte(sql`chosen`)},
      taken as (
        update ${db.jobs} as ${j} set ${takeUnderLease(db, p.worker, p.lock, sql`(select at from stamp)`)}
        where ${j}.ctid = any(array(select place from chosen)) and ${stillWaiting(j)}
        returning ${claimedColumns(j)}),
      ${cursorUpdate(db, p)}
      ${guarded ? sql`, ${guardUpdate(db, p)}` : sql``}
      ${claimAnswer(
        status(shape),
        sql`(select due and crowded from mode)`,
        opensIn(p, guarded),
        sql`(select t.*, h.pos from taken t join chosen h on h.id = t.c0)`,
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
      select a.lim, ceil(a.lim::float8 / greatest(1, (
        select count(*) from (select 1 from eligible limit a.lim) x)))::int as each
      from allowed a where a.lim > 0),
    tried as materialized (
      select e.id, e.key, e.served, least(e.room, (select each from share))::int as take, c.locked
      from eligible e
      left join lateral (
        select true as locked from ${db.groupCursors} as ${c}
        where ${c.queueName} = ${p.queue} and ${c.groupId} = e.key and ${c.servedSeq} = e.served
        for update skip locked) c on true
      where exists (select 1 from share)),
    reached as (
      select t.key, t.served, t.take, h.place, h.id, h.round
      from tried t cross join lateral (${groupHeads(db, p, lifo)}) h
      where t.locked
      limit (select case when each = 1 then lim end from share)),
    chosen as materialized (
      select * from (
        select r.*, row_number() over (order by r.round, r.served, r.key) as pos from reached r) x
      where pos <= (select lim from share))`;
}

/** The first jobs of group `t`, `take` of them. A null is no equal, so jobs without a group need their own branch. */
function groupHeads(db: Tables, p: Params, lifo: boolean): SQL {
  const j = alias(db.jobs, 'j');
  const first = sql`order by ${j.groupId}, ${j.priority}, ${j.seq}`;
  const last = sql`order by ${j.groupId} desc, ${j.priority} desc, ${j.seq} desc`;
  const branch = (own: SQLWrapper) => {
    const rows = sql`${waitingIn(db, p.queue)} and ${own} and ${wanted(db, p)}`;
    // Newest first inside a priority is not an order of the index: only the first priority is read, backwards.
    const order = lifo ? sql`and ${j.priority} = (select ${j.priority} ${rows} ${first} limit 1) ${last}` : first;
    return sql`select b.*, row_number() over () as round from (
      select ${j}.ctid as place, ${j.id} as id ${rows} ${order} limit t.take for update skip locked) b`;
  };
  return sql`${branch(sql`${j.groupId} = t.id`)} union all ${branch(sql`t.id is null and ${j.groupId} is null`)}`;
}

/** A group's place in the line is that of its last job in the batch. */
function cursorUpdate(db: Tables, p: Params): SQL {
  const c = alias(db.groupCursors, 'c');
  const col = bare(db.groupCursors);
  const window = sql`greatest(${c.windowMs}, ${p.groupMs})`;
  const at = epochMs(sql`(select at from stamp)`);
  return sql`
    served as materialized (
      select s.key, s.n, ${db.nextSeq} as seq from (
        select h.key, count(*) as n from taken t join chosen h on h.id = t.c0 group by h.key order by max(h.pos)) s),
    moved as (
      update ${db.groupCursors} as ${c} set ${col.servedSeq} = s.seq,
        ${col.lastServedAt} = (select at from stamp), ${col.windowMs} = ${window},
        ${col.fetches} = case when ${p.groupMax} is null then ${c.fetches}
          else ${withFetches(c.fetches, at, sql`s.n`, window)} end
      from served s where ${c.queueName} = ${p.queue} and ${c.groupId} = s.key
      returning 1)`;
}

/** What only a claim that came back short needs to know is asked last: by then, `tried` has all there is. */
function status({ lifo, guarded }: Shape): SQL {
  const taken = sql`(select count(*) from taken)`;
  const short = sql`coalesce(${taken} < (select lim from share), false)`;
  const cut = lifo
    ? sql`true`
    : sql`exists (select 1 from chosen h, share s where h.round = s.each and h.take = s.each)`;
  return sql`case
    when exists (select 1 from missing)${guarded ? sql` or not exists (select 1 from seen)` : sql``} then 'prepared'
    when exists (select 1 from overflow) then 'survey'
    when ${short} and ${taken} > 0 and ${cut} then 'more'
    when ${short} and (${taken} < (select count(*) from chosen)
      or exists (select 1 from tried where locked is null)) then 'contended'
    ${guarded ? sql`when ${taken} = 0 and (select outdated and lim = 0 from allowed) then 'contended'` : sql``}
    when (select crowded from mode) and (${short}${guarded ? sql` or not exists (select 1 from eligible)` : sql``})
      then 'short'
    else 'done' end`;
}

/** In how many ms a rate limit lets something through again; of those of groups, only a claim that came back short asks. */
function opensIn(p: Params, guarded: boolean): SQL {
  const taken = sql`(select count(*) from taken)`;
  const groups = sql`case when ${p.groupMax} is not null and ${taken} < ${p.limit} then least(
    case when ${taken} > 0 then ${p.groupMs} + 1 end,
    (select min(${nextFetchIn(sql`k.fetches`, p.groupMs)}) from line k
      where k.id is not null and ${p.groupMax} <= ${recentFetches(sql`k.fetches`, p.groupMs)})) end`;
  return guarded ? sql`least(${groups}, ${guardOpensIn(p)})` : groups;
}

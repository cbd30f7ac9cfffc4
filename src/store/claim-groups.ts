import { type SQL, sql } from 'drizzle-orm';
import type { Relations } from '../db/relation.js';
import { epochMs, type Statement, statement } from '../db/statement.js';
import { claimable, pausedNames, takeUnderLease } from './claim.js';
import { guardCtes, guardOpensIn, guardUpdate, stampCte, unguardedCtes } from './claim-guard.js';
import { claimAnswer, LIMITED_PARAMS, type LimitedParams } from './claim-limited.js';
import { nextFetchIn, recentFetches, withFetches } from './fetch-log.js';
import { jobColumns } from './job-row.js';

type Params = Record<LimitedParams, SQL>;

interface Shape {
  lifo: boolean;
  guarded: boolean;
}

/**
 * A claim that takes jobs round-robin over their groups, the least recently served first. Jobs without a group are one
 * more, which no group's limit holds for; its cursor has the empty name.
 *
 * Each group is guarded by its row in `conveyor_group_cursors` in the way `guardCtes` describes, but a row that another
 * claim has locked is passed over: claimers take different groups at the same time. Lock order: the queue's row, then
 * cursors, then jobs; only the first may be waited for.
 *
 * A group that has no cursor yet was never served, and so is first in line: the statement makes the cursors that are
 * missing and takes nothing, and is asked again.
 */
function groupStatement({ lifo, guarded }: Shape): Statement<LimitedParams> {
  return statement(`claim by group${guarded ? ' limited' : ''}${lifo ? ' lifo' : ''}`, LIMITED_PARAMS, (db, p) => {
    const j = db.jobs.of('j');
    const work = sql`exists (select 1 from eligible)`;
    const groupMs = sql`${p.groupMs}::bigint`;
    const opensIn = sql`(select min(${nextFetchIn(sql`k.fetches`, groupMs)}) from candidates k
      where k.id is not null and ${p.groupMax}::bigint <= ${recentFetches(sql`k.fetches`, groupMs)})`;
    return sql`
      with recursive paused as materialized (${pausedNames(db, p.queue)}),
      ${candidates(db, p)},
      ${eligible(db, p)},
      ${guarded ? guardCtes(db, p, work) : unguardedCtes(p)},
      ${chosen(db, p, lifo)},
      ${stampCte(sql`chosen`)},
      taken as (
        update ${db.jobs.as('j')} set ${takeUnderLease(db, p.worker, p.lock, sql`(select at from stamp)`)}
        where ${j.ctid} = any(array(select place from chosen)) and ${j.state} = 'waiting'
        returning ${jobColumns(j)}),
      ${cursorUpdate(db, p)}
      ${guarded ? sql`, ${guardUpdate(db, p)}` : sql``}
      ${claimAnswer(
        status({ lifo, guarded }),
        sql`case when not exists (select 1 from taken)
          then least(${opensIn}${guarded ? sql`, ${guardOpensIn(p)}` : sql``}) end`,
        sql`(select t.*, h.pos from taken t join chosen h on h.id = t.c0)`,
      )} order by t.pos`;
  });
}

function waitingIn(db: Relations, p: Params): SQL {
  const j = db.jobs.of('j');
  return sql`from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue} and ${j.state} = 'waiting'`;
}

/** Groups that have waiting jobs, found by stepping from group to group in the index, with their cursors. */
function candidates(db: Relations, p: Params): SQL {
  const j = db.jobs.of('j');
  const c = db.groupCursors.of('c');
  const { col, table } = db.groupCursors;
  const waiting = waitingIn(db, p);
  const running = sql`not ('__all__' = any((select names from paused)::text[]))`;
  return sql`
    excluded as materialized (select id from jsonb_array_elements_text(${p.excluded}::jsonb) as x(id)),
    walk as (
      (select ${j.groupId} as id ${waiting} and ${j.groupId} is not null and ${running} order by ${j.groupId} limit 1)
      union all
      select (select ${j.groupId} ${waiting} and ${j.groupId} > w.id order by ${j.groupId} limit 1)
      from walk w where w.id is not null),
    present as (
      select w.id, w.id as key from walk w where w.id is not null and w.id not in (select id from excluded)
      union all
      select null, '' from (
        select 1 ${waiting} and ${j.groupId} is null and ${running}
        order by ${j.groupId}, ${j.priority}, ${j.seq} limit 1) ungrouped),
    candidates as materialized (
      select g.id, g.key, c.served, c.claimed, c.fetches from present g left join lateral (
        select ${c.servedSeq} as served, ${c.claimed} as claimed, ${c.fetches} as fetches
        from ${db.groupCursors.as('c')} where ${c.queueName} = ${p.queue} and ${c.groupId} = g.key limit 1) c on true),
    added as (
      insert into ${table} (${col.queueName}, ${col.groupId})
      select ${p.queue}, key from candidates where served is null order by key
      on conflict do nothing returning 1)`;
}

/** Those that a job could be taken from, going by the snapshot, in their order; read only as far as is needed. */
function eligible(db: Relations, p: Params): SQL {
  const j = db.jobs.of('j');
  const may = sql`${claimable(j, undefined)} and (${p.name} is null or ${j.name} = ${p.name})`;
  const waiting = waitingIn(db, p);
  return sql`
    eligible as materialized (
      select k.id, k.key, k.served, k.claimed, a.busy
      from (select * from candidates where not exists (select 1 from candidates where served is null)
        order by served, key) k
      cross join lateral (
        select case when k.id is not null and ${p.groupActive} is not null then (
          select count(*) from (
            select 1 from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue} and ${j.groupId} = k.id
              and ${j.state} = 'active' limit ${p.groupActive}::int) x) end as busy offset 0) a
      where coalesce(a.busy < ${p.groupActive}::bigint, true)
        and (k.id is null or coalesce(${p.groupMax}::bigint > ${recentFetches(sql`k.fetches`, sql`${p.groupMs}::bigint`)}, true))
        and case when k.id is null then exists (select 1 ${waiting} and ${j.groupId} is null and ${may})
          else exists (select 1 ${waiting} and ${j.groupId} = k.id and ${may}) end)`;
}

/**
 * Locks cursors and jobs: one job of each group where there are as many groups as jobs wanted, else an even share of
 * each, in rounds. What a group has room for is known once its cursor is locked.
 */
function chosen(db: Relations, p: Params, lifo: boolean): SQL {
  const c = db.groupCursors.of('c');
  const recent = recentFetches(sql`c.fetches`, sql`${p.groupMs}::bigint`);
  return sql`
    share as materialized (
      select a.lim, ceil(a.lim::float8 / greatest(1, (
        select count(*) from (select 1 from eligible limit a.lim) x)))::int as each
      from allowed a where a.lim > 0),
    reached as (
      select e.key, e.served, h.place, h.id, h.round, t.take
      from eligible e
      cross join lateral (
        select ${c.claimed} as claimed, ${c.fetches} as fetches from ${db.groupCursors.as('c')}
        where ${c.queueName} = ${p.queue} and ${c.groupId} = e.key for update skip locked) c
      cross join lateral (
        select greatest(0, least((select each from share), case when e.id is not null then least(
          ${p.groupActive}::bigint - e.busy - (c.claimed - e.claimed), ${p.groupMax}::bigint - ${recent}) end))::int as take
        offset 0) t
      cross join lateral (${groupHeads(db, p, lifo)}) h
      where exists (select 1 from share)
      limit (select case when each = 1 then lim end from share)),
    chosen as materialized (
      select * from (
        select r.*, row_number() over (order by r.round, r.served, r.key) as pos from reached r) x
      where pos <= (select lim from share))`;
}

/** The first jobs of group `e`, `t.take` of them. A null is no equal, so jobs without a group need their own branch. */
function groupHeads(db: Relations, p: Params, lifo: boolean): SQL {
  const j = db.jobs.of('j');
  const may = sql`${claimable(j, undefined)} and (${p.name} is null or ${j.name} = ${p.name})`;
  // Named in full, because `is null` does not tell the planner that the index is in order without the group.
  const first = sql`order by ${j.groupId}, ${j.priority}, ${j.seq}`;
  const last = sql`order by ${j.groupId} desc, ${j.priority} desc, ${j.seq} desc`;
  const branch = (own: SQL) => {
    const rows = sql`${waitingIn(db, p)} and ${own} and ${may}`;
    const order = lifo ? sql`and ${j.priority} = (select ${j.priority} ${rows} ${first} limit 1) ${last}` : first;
    return sql`select b.*, row_number() over () as round from (
      select ${j.ctid} as place, ${j.id} as id ${rows} ${order} limit t.take for update skip locked) b`;
  };
  return sql`${branch(sql`${j.groupId} = e.id`)} union all ${branch(sql`e.id is null and ${j.groupId} is null`)}`;
}

/** A group's place in the line is that of its last job in the batch. */
function cursorUpdate(db: Relations, p: Params): SQL {
  const c = db.groupCursors.of('c');
  const { col } = db.groupCursors;
  const window = sql`greatest(${c.windowMs}, ${p.groupMs}::bigint)`;
  const at = epochMs(sql`(select at from stamp)`);
  return sql`
    served as materialized (
      select s.key, s.n, ${db.nextSeq} as seq from (
        select h.key, count(*) as n from taken t join chosen h on h.id = t.c0 group by h.key order by max(h.pos)) s),
    moved as (
      update ${db.groupCursors.as('c')} set ${col.claimed} = ${c.claimed} + s.n, ${col.servedSeq} = s.seq,
        ${col.lastServedAt} = (select at from stamp), ${col.windowMs} = ${window},
        ${col.fetches} = case when ${p.groupMax} is null then ${c.fetches}
          else ${withFetches(c.fetches, at, sql`s.n`, window)} end
      from served s where ${c.queueName} = ${p.queue} and ${c.groupId} = s.key
      returning 1)`;
}

function status({ lifo, guarded }: Shape): SQL {
  const taken = sql`(select count(*) from taken)`;
  const cut = lifo
    ? sql`true`
    : sql`exists (select 1 from chosen h, share s where h.round = s.each and h.take = s.each)`;
  return sql`case
    when exists (select 1 from candidates where served is null)${guarded ? sql` or not exists (select 1 from seen)` : sql``}
      then 'prepared'
    when ${taken} = 0 and exists (select 1 from share) and exists (select 1 from eligible) then 'contended'
    ${guarded ? sql`when ${taken} = 0 and (select outdated and lim = 0 from allowed) then 'contended'` : sql``}
    when ${taken} > 0 and ${taken} < (select lim from share) and ${cut} then 'more'
    else 'done' end`;
}

const shapes = new Map<string, Statement<LimitedParams>>();

/** Built once per shape, so that each is one prepared statement. */
export function groupClaim(shape: Shape): Statement<LimitedParams> {
  const key = `${shape.lifo}${shape.guarded}`;
  let found = shapes.get(key);
  if (!found) {
    found = groupStatement(shape);
    shapes.set(key, found);
  }
  return found;
}

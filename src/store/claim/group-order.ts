import { type SQL, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { claimable, running } from './claim.js';
import type { LimitedParams } from './limited.js';
import { recentFetches } from './rate-window.js';

type Params = Record<LimitedParams, SQL>;

/** A queue in which a survey found more groups with waiting jobs than this is claimed from by the line of cursors. */
const MANY_GROUPS = 64;
/** Groups that one claim finds out by itself; with more, it asks for a survey. */
const WALKED = 2 * MANY_GROUPS;

/**
 * Groups that have waiting jobs, by stepping from one to the next in the index: `walk(n, id)`, ended by a null. Some
 * microseconds per step, whatever the backlog.
 */
export function groupWalk(db: Tables, queue: SQL, when: SQL, steps: SQL): SQL {
  const j = alias(db.jobs, 'j');
  const waiting = waitingIn(db, queue);
  return sql`walk as (
    (select 1 as n, ${j.groupId} as id ${waiting} and ${j.groupId} is not null and ${when}
      order by ${j.groupId} limit 1)
    union all
    select w.n + 1, (select ${j.groupId} ${waiting} and ${j.groupId} > w.id order by ${j.groupId} limit 1)
    from walk w where w.id is not null and w.n <= ${steps})`;
}

/**
 * A waiting job without a group, if there is one. The index is named in full: `is null` does not tell the planner that
 * it is in order. (Not to be put into EXISTS, which drops the order: without it any index of waiting jobs may do.)
 */
export function ungroupedHead(db: Tables, queue: SQL, when: SQL): SQL {
  const j = alias(db.jobs, 'j');
  return sql`select 1 ${waitingIn(db, queue)} and ${j.groupId} is null and ${when}
    order by ${j.groupId}, ${j.priority}, ${j.seq} limit 1`;
}

export function waitingIn(db: Tables, queue: SQL): SQL {
  const j = alias(db.jobs, 'j');
  return sql`from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${j.state} = 'waiting'`;
}

/** May be claimed, and is of the wanted name if one is wanted. */
export function wanted(db: Tables, p: Params): SQL {
  const j = alias(db.jobs, 'j');
  return sql`${claimable(j, undefined)} and (case when coalesce(${j.name} = ${p.name}, true) then true else false end)`;
}

/**
 * Which groups come next: `eligible(id, key, served, room)`, the least recently served first, those that so many jobs
 * (null: any number) could be taken from going by the snapshot. It is read only as far as is needed.
 *
 * With few groups, each claim finds those with waiting jobs by itself, and the order is exact at any instant. Hundreds
 * of steps per claim would cost more than the claim; then it goes through the listed cursors in the order of an index,
 * passing over groups that have nothing (any more). A group that is not listed yet joins at the next survey, a moment
 * later; and no claim that found too little ends without one.
 */
export function lineCtes(db: Tables, p: Params): SQL {
  const c = alias(db.groupCursors, 'c');
  const col = bare(db.groupCursors);
  const cursor = (key: SQL) =>
    sql`from ${db.groupCursors} as ${c} where ${c.queueName} = ${p.queue} and ${c.groupId} = ${key}`;
  const few = sql`not coalesce((select crowded from mode), false)`;
  return sql`
    excluded as materialized (select id from jsonb_array_elements_text(${p.excluded}) as x(id)),
    mode as materialized (
      select coalesce(${c.groupCount} > ${sql.raw(String(MANY_GROUPS))}, false) as crowded,
        ${c.surveyDue} <= clock_timestamp() as due ${cursor(sql`''`)}),
    ${groupWalk(db, p.queue, sql`${few} and ${running}`, sql.raw(String(WALKED)))},
    present as (
      select w.id, w.id as key from walk w where w.id is not null and w.id not in (select id from excluded)
      union all
      select null, '' from (${ungroupedHead(db, p.queue, sql`${few} and ${running}`)}) ungrouped),
    candidates as materialized (
      select g.id, g.key, c.served, c.fetches from present g left join lateral (
        select ${c.servedSeq} as served, ${c.fetches} as fetches ${cursor(sql`g.key`)} limit 1
      ) c on true),
    missing as materialized (
      select key from candidates where served is null union select '' where not exists (select 1 from mode)),
    added as (
      insert into ${db.groupCursors} (${col.queueName}, ${col.groupId}) select ${p.queue}, key from missing order by key
      on conflict do nothing returning 1),
    overflow as materialized (select 1 from walk where n > ${sql.raw(String(WALKED))} and id is not null),
    ${eligible(db, p)}`;
}

/** The groups in their order, `line`, and those of them that have room, and a job that may be claimed. */
function eligible(db: Tables, p: Params): SQL {
  const j = alias(db.jobs, 'j');
  const c = alias(db.groupCursors, 'c');
  const waiting = waitingIn(db, p.queue);
  const may = wanted(db, p);
  const first = sql`order by ${j.groupId}, ${j.priority}, ${j.seq}`;
  // Room is asked first: where all groups are full, it is asked of each. Then no EXISTS, which the planner may answer
  // for all groups at once, from the whole backlog.
  return sql`
    line as materialized (
      (select id, key, served, fetches from candidates
        where not exists (select 1 from missing) and not exists (select 1 from overflow) order by served, key)
      union all
      (select nullif(${c.groupId}, ''), ${c.groupId}, ${c.servedSeq}, ${c.fetches} from ${db.groupCursors} as ${c}
        where ${c.queueName} = ${p.queue} and ${c.listed} and (select crowded from mode) and ${running}
          and ${c.groupId} not in (select id from excluded)
        order by ${c.servedSeq}, ${c.groupId} limit 2147483647)),
    eligible as materialized (
      select k.id, k.key, k.served, k.room
      from (
        select l.id, l.key, l.served, r.room from line l
        cross join lateral (
          select case when l.id is not null then least(
            case when ${p.groupActive} is not null then ${p.groupActive} - (
              select count(*) from (
                select 1 from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${j.groupId} = l.id
                  and ${j.state} = 'active' limit ${p.groupActive}) x) end,
            case when ${p.groupMax} is not null then
              ${p.groupMax} - ${recentFetches(sql`l.fetches`, p.groupMs)} end) end as room
          offset 0) r
        where coalesce(r.room > 0, true) offset 0) k
      where case when k.id is null then (select true ${waiting} and ${j.groupId} is null and ${may} ${first} limit 1)
        else (select true ${waiting} and ${j.groupId} = k.id and ${may} ${first} limit 1) end)`;
}

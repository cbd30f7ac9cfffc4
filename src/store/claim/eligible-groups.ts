import { type SQL, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { claimable, running, waitingIn } from './eligible.js';
import type { LimitedValues } from './limited.js';
import { recentFetches } from './rate-window.js';

type Params = LimitedValues;

/** With more groups that have waiting jobs, a queue is claimed from by the list of cursors. */
const MANY_GROUPS = 64;
/** Groups that one claim finds by itself; with more, the list must be refreshed. */
const WALKED = 2 * MANY_GROUPS;

/**
 * Groups that have waiting jobs, by stepping from one to the next in the index: `walk(n, id)`, ended by a null. Some
 * microseconds per step, whatever the backlog. (The first step has a bound like the others, whose value the planner does
 * not know: where it takes the table for empty, nothing else makes the index of groups cheaper than another.)
 */
export function groupWalk(db: Tables, queue: SQL, when: SQL, steps: SQL): SQL {
  const j = alias(db.jobs, 'j');
  const waiting = waitingIn(db, queue);
  return sql`walk as (
    (select 1 as n, ${j.groupId} as id ${waiting} and ${j.groupId} >= (select '' where ${when})
      order by ${j.groupId} limit 1)
    union all
    select w.n + 1, (select ${j.groupId} ${waiting} and ${j.groupId} > w.id order by ${j.groupId} limit 1)
    from walk w where w.id is not null and w.n <= ${steps})`;
}

/**
 * A waiting job without a group, if there is one. Ordered by all columns of its index, because `is null` does not tell
 * the planner that the index is in order. (Not to be put into EXISTS, which drops the order, so that any index of
 * waiting jobs may be chosen.)
 */
export function ungroupedHead(db: Tables, queue: SQL, when: SQL): SQL {
  const j = alias(db.jobs, 'j');
  return sql`select 1 ${waitingIn(db, queue)} and ${j.groupId} is null and ${when}
    order by ${j.groupId}, ${j.priority}, ${j.seq} limit 1`;
}

/** May be claimed, and is of the wanted name if one is wanted. */
export function wanted(db: Tables, p: Params): SQL {
  const j = alias(db.jobs, 'j');
  return sql`${claimable(j, undefined, p.skip)} and (case when coalesce(${j.name} = ${p.name}, true) then true else false end)`;
}

/**
 * Which groups come next: `eligible(id, key, served, room)`, the least recently served first, with how many jobs could be
 * taken from each going by the snapshot (null: any number). Read only as far as is needed.
 *
 * With few groups, each claim finds those with waiting jobs by itself, and the order is exact. Hundreds of steps per
 * claim would cost more than the claim; then it goes through the listed cursors in the order of an index, and passes
 * over groups without waiting jobs. A group that is not listed yet joins with the next refresh, a moment later; a claim
 * that found too little always ends in one.
 */
export function eligibleGroups(db: Tables, p: Params): SQL {
  const c = alias(db.groupCursors, 'c');
  const col = bare(db.groupCursors);
  const cursor = (key: SQL) =>
    sql`from ${db.groupCursors} as ${c} where ${c.queueName} = ${p.queue} and ${c.groupId} = ${key}`;
  const few = sql`not coalesce((select many_groups from group_state), false)`;
  return sql`
    excluded as materialized (select id from jsonb_array_elements_text(${p.excluded}) as x(id)),
    group_state as materialized (
      select coalesce(${c.groupCount} > ${sql.raw(String(MANY_GROUPS))}, false) as many_groups,
        ${c.surveyDue} <= clock_timestamp() as due ${cursor(sql`''`)}),
    ${groupWalk(db, p.queue, sql`${few} and ${running}`, sql.raw(String(WALKED)))},
    waiting_groups as (
      select w.id, w.id as key from walk w where w.id is not null and w.id not in (select id from excluded)
      union all
      select null, '' from (${ungroupedHead(db, p.queue, sql`${few} and ${running}`)}) ungrouped),
    known_groups as materialized (
      select g.id, g.key, c.served, c.fetches from waiting_groups g left join lateral (
        select ${c.servedSeq} as served, ${c.fetches} as fetches ${cursor(sql`g.key`)} limit 1
      ) c on true),
    missing_cursors as materialized (
      select key from known_groups where served is null union select '' where not exists (select 1 from group_state)),
    cursors_created as (
      insert into ${db.groupCursors} (${col.queueName}, ${col.groupId}) select ${p.queue}, key from missing_cursors order by key
      on conflict do nothing returning 1),
    too_many_groups as materialized (select 1 from walk where n > ${sql.raw(String(WALKED))} and id is not null),
    ${eligible(db, p)}`;
}

/** The groups in their order, and of them those that have room and a job that may be claimed. */
function eligible(db: Tables, p: Params): SQL {
  const j = alias(db.jobs, 'j');
  const c = alias(db.groupCursors, 'c');
  const waiting = waitingIn(db, p.queue);
  const may = wanted(db, p);
  const first = sql`order by ${j.groupId}, ${j.priority}, ${j.seq}`;
  // Room comes first, because where all groups are full it is computed for each. Then no EXISTS, which the planner may answer
  // for all groups at once, from the whole backlog.
  return sql`
    group_order as materialized (
      (select id, key, served, fetches from known_groups
        where not exists (select 1 from missing_cursors) and not exists (select 1 from too_many_groups) order by served, key)
      union all
      (select nullif(${c.groupId}, ''), ${c.groupId}, ${c.servedSeq}, ${c.fetches} from ${db.groupCursors} as ${c}
        where ${c.queueName} = ${p.queue} and ${c.listed} and (select many_groups from group_state) and ${running}
          and ${c.groupId} not in (select id from excluded)
        order by ${c.servedSeq}, ${c.groupId} limit 2147483647)),
    eligible as materialized (
      select k.id, k.key, k.served, k.room
      from (
        select l.id, l.key, l.served, r.room from group_order l
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

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { groupWalk, ungroupedHead } from './eligible-groups.js';

/** ms between refreshes of a queue's list, over all processes; longer where one takes more than a tenth of that. */
const INTERVAL = sql.raw('100');
const SHARE = sql.raw('10');
/** No limit: a queue that is refreshed has more groups than a claim steps through. */
const ALL = sql.raw('2147483647');

/**
 * Lists the groups of a queue that have waiting jobs and unlists those that have none. The cursor of the jobs without a
 * group is the lock: one refresh at a time is enough, so others pass it over.
 */
const refresh = statement('refresh groups', ['queue', 'force'], (db, p) => {
  const c = alias(db.groupCursors, 'c');
  const col = bare(db.groupCursors);
  const cursors = sql`from ${db.groupCursors} as ${c} where ${c.queueName} = ${p.queue}`;
  const locked = sql`exists (select 1 from refresh_lock)`;
  return sql`
    with recursive refresh_lock as materialized (
      select ${c.listed} as listed ${cursors} and ${c.groupId} = ''
        and (${p.force} = 'true' or coalesce(${c.surveyDue} <= clock_timestamp(), true))
      for update skip locked),
    ${groupWalk(db, p.queue, locked, ALL)},
    waiting_groups as materialized (
      select w.id as key, c.listed from walk w
      left join lateral (select ${c.listed} as listed ${cursors} and ${c.groupId} = w.id limit 1) c on true
      where w.id is not null),
    cursors_created as (
      insert into ${db.groupCursors} (${col.queueName}, ${col.groupId}, ${col.listed})
      select ${p.queue}, key, true from waiting_groups where listed is null order by key
      on conflict (${col.queueName}, ${col.groupId}) do update set ${col.listed} = true
      returning true as listed),
    relisted as (
      update ${db.groupCursors} as ${c} set ${col.listed} = not ${c.listed}
      from (
        select key from waiting_groups where not listed
        union all
        select ${c.groupId} ${cursors} and ${c.listed} and ${c.groupId} <> '' and ${locked}
          and ${c.groupId} not in (select key from waiting_groups)) k
      where ${c.queueName} = ${p.queue} and ${c.groupId} = k.key
      returning ${c.listed} as listed),
    counted as materialized (select n, clock_timestamp() as at from (select count(*) as n from waiting_groups) x),
    marked as (
      update ${db.groupCursors} as ${c} set ${col.listed} = (${ungroupedHead(db, p.queue, sql`true`)}) is not null,
        ${col.groupCount} = (select n from counted),
        ${col.surveyDue} = (
          select at + greatest(${INTERVAL} * interval '1 millisecond', ${SHARE} * (at - now())) from counted)
      where ${c.queueName} = ${p.queue} and ${c.groupId} = '' and ${locked}
      returning ${c.listed} and not (select listed from refresh_lock) as listed)
    select ${columns(sql`listed::int + (select count(*) from cursors_created) + (select count(*) from relisted where listed)`)} from marked`;
});

/** How many groups were listed anew. Null: another refresh is under way, or (without `force`) none is due yet. */
export async function refreshGroups(executor: Executor, queueName: string, force: boolean): Promise<number | null> {
  const [row] = await executor.run(refresh, { queue: queueName, force: String(force) });
  return row ? Number(row[0]) : null;
}

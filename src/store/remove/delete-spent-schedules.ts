import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { now } from '../../db/time.js';
import { CHUNK } from './chunks.js';

/**
 * A schedule without further ticks is kept for a while, so that a deploy which registers it again does not start it
 * anew: at its limit for 30 days after its last tick or registration, whichever is later. One whose `endDate` has
 * passed, or whose expression matches no more, is refused by `add` anyway: it is kept for a day. Schedules that a version
 * without the column has ended get their time here.
 */
const deleteSpent = statement('delete spent schedules', ['limit'], (db, p) => {
  const s = alias(db.schedules, 's');
  const col = bare(db.schedules);
  const kept = sql`case when ${s.runsLeft} <= 0 and (${s.endAt} is null or ${s.endAt} > ${now})
    then interval '30 days' else interval '1 day' end`;
  return sql`
    with stamped as (
      update ${db.schedules} as ${s} set ${col.endedAt} = ${now}
      where ${s.tickAt} is null and ${s.endedAt} is null),
    picked as materialized (
      select ${s}.ctid from ${db.schedules} as ${s}
      where ${s.tickAt} is null and ${s.endedAt} < ${now} - interval '1 day' and ${s.endedAt} < ${now} - ${kept}
      order by ${s.endedAt} limit ${p.limit}::int for update skip locked),
    deleted as (
      delete from ${db.schedules} as ${s} where ${s}.ctid = any(array(select ctid from picked)) and ${s.tickAt} is null
      returning 1)
    select ${columns(sql`count(*)`)} from deleted`;
});

/** Deletes schedules of any queue that ended long enough ago. */
export async function deleteSpentSchedules(executor: Executor): Promise<void> {
  const next = async () => Number((await executor.run(deleteSpent, { limit: CHUNK }))[0]?.[0]);
  while ((await next()) === CHUNK);
}

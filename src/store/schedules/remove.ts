import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { liveJobOf, unstarted, versionOf } from '../rules/schedule-jobs.js';
import { untilSettled } from './contended.js';

/**
 * The schedule's row is locked first, as everywhere. If it changed while the lock was waited for, its new jobs are
 * invisible to this statement: then it deletes nothing. Without a schedule it deletes the jobs that one
 * has left behind.
 */
const deleteSchedule = statement(
  'remove schedule',
  ['queue', 'key'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    const j = alias(db.jobs, 'j');
    const own = sql`${s.queueName} = ${p.queue} and ${s.key} = ${p.key}`;
    return sql`
      with seen as materialized (select ${versionOf(s)} as version from ${db.schedules} as ${s} where ${own}),
      gone as (
        delete from ${db.schedules} as ${s} where ${own} and ${versionOf(s)} = (select version from seen)
        returning 1),
      unstarted as materialized (
        select ${j.id} as id from ${db.jobs} as ${j}
        where (exists (select 1 from gone) or not exists (select 1 from seen)) and ${liveJobOf(j, p.queue, p.key)} and ${unstarted(j)}
        order by ${j.id} for update of j),
      withdrawn as (
        delete from ${db.jobs} as ${j} using unstarted where ${j.queueName} = ${p.queue} and ${j.id} = unstarted.id
        returning ${j.id} as id)
      select ${columns(
        sql`case when exists (select 1 from gone) then 'removed' when exists (select 1 from seen) then 'held' else 'none' end`,
        sql`null`,
      )}
      union all select 'job', id from withdrawn`;
  },
  { repeatable: true },
);

export interface RemovedSchedule {
  /** False: there is no such schedule. */
  readonly removed: boolean;
  /** Ids of its jobs that were deleted. */
  readonly jobIds: string[];
}

/** Ends a schedule and deletes its jobs that have not begun. One that runs or waits for its next attempt stays. */
export function removeSchedule(executor: Executor, queueName: string, key: string): Promise<RemovedSchedule> {
  return untilSettled(queueName, key, async () => {
    const rows = await executor.run(deleteSchedule, { queue: queueName, key });
    const [found] = rows.map(([kind]) => kind).filter((kind) => kind !== 'job');
    if (found === 'held') return undefined;
    const jobIds = rows.filter(([kind]) => kind === 'job').map(([, id]) => id as string);
    return { removed: found === 'removed', jobIds };
  });
}

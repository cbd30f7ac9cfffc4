import { sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import { columns, statement } from '../db/statement.js';
import type { JobState } from '../model/job.js';

/** Rows of one maintenance statement: no lock is held for long, and vacuum can follow. */
export const CHUNK = 1_000;

const removeOld = statement('remove outlived', ['limit'], (db, p) => {
  const j = db.jobs.of('j');
  const ended = sql`${j.removeAt} < now() and ${j.state} in ('completed', 'failed')`;
  return sql`
    with old as materialized (
      select ${j.ctid} from ${db.jobs.as('j')} where ${j.removeAt} is not null and ${ended}
      order by ${j.removeAt} limit ${p.limit}::int for update skip locked),
    gone as (delete from ${db.jobs.as('j')} where ${j.ctid} = any(array(select ctid from old)) and ${ended} returning 1)
    select ${columns(sql`count(*)`)} from gone`;
});

/** Deletes finished jobs whose `removeOnComplete` or `removeOnFail` time has passed. */
export async function removeOutlived(executor: Executor): Promise<void> {
  for (;;) {
    const [row] = await executor.run(removeOld, { limit: CHUNK });
    if (Number(row?.[0]) < CHUNK) return;
  }
}

const todo = (): never => {
  throw new Error('not there yet');
};
export const clean = async (_e: Executor, _q: string, _s: JobState, _g: number): Promise<number> => todo();
export const drain = async (_e: Executor, _q: string): Promise<void> => todo();
export const obliterate = async (_e: Executor, _q: string, _f: boolean): Promise<void> => todo();
export const promoteAll = async (_e: Executor, _q: string): Promise<number> => todo();
export const retryJobs = async (_e: Executor, _q: string, _s: 'failed' | 'completed'): Promise<number> => todo();
const truncate = statement(
  'truncate all',
  [],
  (db) => sql`truncate ${db.jobs.table}, ${db.pausedNames.table}, ${db.groupCursors.table}, ${db.rateLimits.table},
    ${db.schedules.table}, ${db.metrics.table}`,
  { repeatable: true },
);
export async function truncateAll(executor: Executor): Promise<void> {
  await executor.run(truncate, {});
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { bare, type Tables } from '../../db/tables.js';
import { CHUNK } from './chunks.js';

/** One chunk of a queue's rows in a table, locked in the order of its key, as everything that writes several rows does. */
const deletionFrom = (
  name: string,
  table: (db: Tables) => PgTable,
  key: (db: Tables) => [SQLWrapper, ...SQLWrapper[]],
) =>
  statement(`obliterate ${name}`, ['queue', 'limit'], (db, p) => {
    const [queueName] = key(db);
    const r = sql.identifier('r');
    const rows = sql`${table(db)} as ${r}`;
    const picked = sql`select ${r}.ctid from ${rows} where ${queueName} = ${p.queue}
      order by ${sql.join(key(db) as unknown as SQL[], sql`, `)} limit ${p.limit}::int for update`;
    return sql`with deleted as (delete from ${rows} where ${r}.ctid = any(array(${picked})) returning 1)
      select ${columns(sql`count(*)`)} from deleted`;
  });

const deleteSchedules = deletionFrom(
  'schedules',
  (db) => db.schedules,
  (db) => [bare(db.schedules).queueName, bare(db.schedules).key],
);
const deleteCursors = deletionFrom(
  'group cursors',
  (db) => db.groupCursors,
  (db) => [bare(db.groupCursors).queueName, bare(db.groupCursors).groupId],
);
const deleteLimits = deletionFrom(
  'rate limits',
  (db) => db.rateLimits,
  (db) => [bare(db.rateLimits).queueName],
);
const deletePauses = deletionFrom(
  'paused names',
  (db) => db.pausedNames,
  (db) => [bare(db.pausedNames).queueName, bare(db.pausedNames).jobName],
);
const deleteMetrics = deletionFrom(
  'metrics',
  (db) => db.metrics,
  (db) => {
    const { queueName, jobName, granularity, periodStart, shard } = bare(db.metrics);
    return [queueName, jobName, granularity, periodStart, shard];
  },
);

/** Repeats until no row is found: one that changed while its lock was waited for is found by the next statement. */
async function deleteRows(executor: Executor, deletion: typeof deleteMetrics, queue: string): Promise<void> {
  const next = async () => Number((await executor.run(deletion, { queue, limit: CHUNK }))[0]?.[0]);
  while ((await next()) > 0);
}

/** Deletes the repeating schedules of a queue. */
export function deleteAllSchedules(executor: Executor, queue: string): Promise<void> {
  return deleteRows(executor, deleteSchedules, queue);
}

/** Deletes what tables other than the jobs' hold of a queue; its pauses last, which keep it from being claimed until then. */
export async function deleteQueueRows(executor: Executor, queue: string): Promise<void> {
  for (const deletion of [deleteCursors, deleteLimits, deleteMetrics, deletePauses]) {
    await deleteRows(executor, deletion, queue);
  }
}

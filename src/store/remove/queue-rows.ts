import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import type { Relations } from '../../db/relation.js';
import { columns, statement } from '../../db/statement.js';
import { CHUNK } from './chunks.js';

/** Chunk by chunk, locked in the order of the key, in which those who write several rows lock them as well. */
const removalFrom = (
  name: string,
  table: (db: Relations) => { as(alias: string): SQL },
  key: (db: Relations) => SQL[],
) =>
  statement(`obliterate ${name}`, ['queue', 'limit'], (db, p) => {
    const [queueName] = key(db);
    const picked = sql`select "r".ctid from ${table(db).as('r')} where ${queueName as SQL} = ${p.queue}
      order by ${sql.join(key(db), sql`, `)} limit ${p.limit}::int for update`;
    return sql`with gone as (
        delete from ${table(db).as('r')} where "r".ctid = any(array(${picked})) returning 1)
      select ${columns(sql`count(*)`)} from gone`;
  });

const removeSchedules = removalFrom(
  'schedules',
  (db) => db.schedules,
  (db) => [db.schedules.col.queueName, db.schedules.col.key],
);
const removeCursors = removalFrom(
  'group cursors',
  (db) => db.groupCursors,
  (db) => [db.groupCursors.col.queueName, db.groupCursors.col.groupId],
);
const removeLimits = removalFrom(
  'rate limits',
  (db) => db.rateLimits,
  (db) => [db.rateLimits.col.queueName],
);
const removePauses = removalFrom(
  'paused names',
  (db) => db.pausedNames,
  (db) => [db.pausedNames.col.queueName, db.pausedNames.col.jobName],
);
const removeMetrics = removalFrom(
  'metrics',
  (db) => db.metrics,
  ({ metrics: { col } }) => [col.queueName, col.jobName, col.granularity, col.periodStart, col.shard],
);

/** A row that changed while its lock was waited for is found by the next statement: so until none is found. */
async function removeRows(executor: Executor, remove: typeof removeMetrics, queue: string): Promise<void> {
  const next = async () => Number((await executor.run(remove, { queue, limit: CHUNK }))[0]?.[0]);
  while ((await next()) > 0);
}

/** Forgets the repeating schedules of a queue. */
export function removeAllSchedules(executor: Executor, queue: string): Promise<void> {
  return removeRows(executor, removeSchedules, queue);
}

/** Removes what tables other than the jobs' know of a queue; its pauses last, which hold claims off until then. */
export async function removeQueueRows(executor: Executor, queue: string): Promise<void> {
  for (const remove of [removeCursors, removeLimits, removeMetrics, removePauses]) {
    await removeRows(executor, remove, queue);
  }
}

import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, literal, type Tables } from '../../db/tables.js';
import { CHUNK } from '../remove/chunks.js';
import { addToBuckets } from '../rules/metrics-buckets.js';

/** The shard of minutes that their hour contains already. */
const FOLDED = -1;

/** Adds the rows of `source` to the buckets of one granularity and shard. */
function addAll(db: Tables, granularity: 'minute' | 'hour', shard: number): SQL {
  const period = sql`date_trunc(${literal(granularity)}, s.period at time zone 'UTC') at time zone 'UTC'`;
  return addToBuckets(
    db,
    sql`select s.q, s.name, ${literal(granularity)}, ${period}, ${literal(shard)},
      sum(s.completed), sum(s.failed), sum(s.total), min(s.min), max(s.max)
    from source s group by 1, 2, 4 order by 1, 2, 4`,
  );
}

/**
 * Moves minutes that are not part of an hour yet. What leaves a writer's row enters the hour and the folded minute in
 * the same statement, so each number is counted once, however often and by how many processes this is called. A writer
 * that comes late, or writes to the current minute, begins another row. Locked rows are left to the next call.
 */
const foldMinutes = statement('fold minutes', ['limit'], (db, p) => {
  const m = alias(db.metrics, 'm');
  return sql`
    with open as materialized (
      select ${m}.ctid from ${db.metrics} as ${m} where ${m.granularity} = 'minute' and ${m.shard} >= 0
      order by ${m.shard}, ${m.periodStart} limit ${p.limit}::int for update skip locked),
    moved as (
      delete from ${db.metrics} as ${m} where ${m}.ctid = any(array(select ctid from open))
      returning ${m.queueName} as q, ${m.jobName} as name, ${m.periodStart} as period, ${m.completedCount} as completed,
        ${m.failedCount} as failed, ${m.totalProcessMs} as total, ${m.minProcessMs} as min, ${m.maxProcessMs} as max),
    source as materialized (select * from moved),
    minutes as (${addAll(db, 'minute', FOLDED)}),
    hours as (${addAll(db, 'hour', 0)})
    select ${columns(sql`(select count(*) from open)`, sql`(select count(*) from minutes)`, sql`(select count(*) from hours)`)}`;
});

const dropOld = (granularity: 'minute' | 'hour') =>
  statement(`drop old ${granularity}s`, ['kept', 'limit'], (db, p) => {
    const m = alias(db.metrics, 'm');
    const shard = granularity === 'minute' ? FOLDED : 0;
    return sql`
      with old as materialized (
        select ${m}.ctid from ${db.metrics} as ${m}
        where ${m.granularity} = ${literal(granularity)} and ${m.shard} = ${literal(shard)}
          and ${m.periodStart} < now() - ${p.kept}::float8 * interval '1 ${sql.raw(granularity)}'
        order by ${m.periodStart} limit ${p.limit}::int for update skip locked),
      deleted as (delete from ${db.metrics} as ${m} where ${m}.ctid = any(array(select ctid from old)) returning 1)
      select ${columns(sql`count(*)`)} from deleted`;
  });
const dropOldMinutes = dropOld('minute');
const dropOldHours = dropOld('hour');

/**
 * Adds minutes to their hours, each once, and drops the buckets that began longer ago than they are kept. Hours,
 * the current one included, are up to date as of the last call; minutes can be read as long as they are kept.
 */
export async function aggregateMetrics(
  executor: Executor,
  kept: { retentionMinutes: number; retentionHours: number },
): Promise<void> {
  const all = async (chunk: () => Promise<number>) => {
    while ((await chunk()) > 0);
  };
  const count = ([row]: Awaited<ReturnType<Executor['run']>>) => Number(row?.[0]);
  await all(async () => count(await executor.run(foldMinutes, { limit: CHUNK })));
  await all(async () => count(await executor.run(dropOldMinutes, { kept: kept.retentionMinutes, limit: CHUNK })));
  await all(async () => count(await executor.run(dropOldHours, { kept: kept.retentionHours, limit: CHUNK })));
}

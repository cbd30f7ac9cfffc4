import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { CHUNK } from '../remove/chunks.js';

/** The shard of minutes that their hour contains already. */
const FOLDED = -1;

/** Adds summed rows of `source` to the buckets of one granularity and shard; in the order of their key. */
function addBuckets(db: Tables, source: SQLWrapper, granularity: 'minute' | 'hour', shard: number): SQL {
  const col = bare(db.metrics);
  const m = alias(db.metrics, 'm');
  const period = sql`date_trunc(${sql.raw(`'${granularity}'`)}, s.period at time zone 'UTC') at time zone 'UTC'`;
  const add = (column: SQLWrapper, own: SQLWrapper) => sql`${column} = ${own} + excluded.${column}`;
  return sql`
    insert into ${db.metrics} as ${m} (${col.queueName}, ${col.jobName}, ${col.granularity}, ${col.periodStart},
      ${col.shard}, ${col.completedCount}, ${col.failedCount}, ${col.totalProcessMs}, ${col.minProcessMs}, ${col.maxProcessMs})
    select s.q, s.name, ${sql.raw(`'${granularity}'`)}, ${period}, ${sql.raw(String(shard))},
      sum(s.completed), sum(s.failed), sum(s.total), min(s.min), max(s.max)
    from ${source} s group by 1, 2, 4 order by 1, 2, 4
    on conflict (${col.queueName}, ${col.jobName}, ${col.granularity}, ${col.periodStart}, ${col.shard}) do update set
      ${add(col.completedCount, m.completedCount)}, ${add(col.failedCount, m.failedCount)},
      ${add(col.totalProcessMs, m.totalProcessMs)},
      ${col.minProcessMs} = least(${m.minProcessMs}, excluded.${col.minProcessMs}),
      ${col.maxProcessMs} = greatest(${m.maxProcessMs}, excluded.${col.maxProcessMs})
    returning 1`;
}

/**
 * Moves minutes that no hour contains yet: what leaves a writer's row enters the hour and the folded minute in the same
 * statement, so a number is counted once whoever calls this how often, and a writer that comes late (or to the minute
 * at hand) finds no row and begins another. Rows that a writer holds right now are left for the next call.
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
    minutes as (${addBuckets(db, sql`source`, 'minute', FOLDED)}),
    hours as (${addBuckets(db, sql`source`, 'hour', 0)})
    select ${columns(sql`(select count(*) from open)`, sql`(select count(*) from minutes)`, sql`(select count(*) from hours)`)}`;
});

const dropOld = (granularity: 'minute' | 'hour') =>
  statement(`drop old ${granularity}s`, ['kept', 'limit'], (db, p) => {
    const m = alias(db.metrics, 'm');
    const shard = granularity === 'minute' ? FOLDED : 0;
    return sql`
      with old as materialized (
        select ${m}.ctid from ${db.metrics} as ${m}
        where ${m.granularity} = ${sql.raw(`'${granularity}'`)} and ${m.shard} = ${sql.raw(String(shard))}
          and ${m.periodStart} < now() - ${p.kept}::float8 * interval '1 ${sql.raw(granularity)}'
        order by ${m.periodStart} limit ${p.limit}::int for update skip locked),
      gone as (delete from ${db.metrics} as ${m} where ${m}.ctid = any(array(select ctid from old)) returning 1)
      select ${columns(sql`count(*)`)} from gone`;
  });
const dropOldMinutes = dropOld('minute');
const dropOldHours = dropOld('hour');

/**
 * Adds minutes to their hours, each once, and drops the buckets that began longer ago than they are kept. An hour is up
 * to date as of the last call, also the one at hand; its minutes can be read as long as they are kept.
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

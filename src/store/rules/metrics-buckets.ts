import { type SQL, sql } from 'drizzle-orm';
import type { Relations } from '../../db/relation.js';
import { now } from '../../db/statement.js';

/**
 * Rows per metrics bucket: the writers of one process share a row, different processes are spread over this many.
 */
export const METRIC_SHARDS = 64;

/**
 * The metrics of a settling statement, as a CTE over its `outcomes(q, name, state, processed)`: a minute bucket for the
 * job's name and one for `__all__`, which a job of that very name enters once. Rows are written in the order of their
 * key, so that two statements on one shard cannot wait for each other crosswise. `ended` is the end of an outcome `o`: it
 * falls into that minute, however late it is told.
 */
export function countMetrics(db: Relations, shard: SQL, ended: SQL = now): SQL {
  const { col } = db.metrics;
  const m = db.metrics.of('m');
  const add = (column: SQL, own: SQL) => sql`${column} = ${own} + excluded.${column}`;
  return sql`metered as (
    insert into ${db.metrics.as('m')} (${col.queueName}, ${col.jobName}, ${col.granularity}, ${col.periodStart},
      ${col.shard}, ${col.completedCount}, ${col.failedCount}, ${col.totalProcessMs}, ${col.minProcessMs}, ${col.maxProcessMs})
    select q, label, 'minute', period, ${shard}::int,
      count(*) filter (where state = 'completed'), count(*) filter (where state = 'failed'),
      sum(ms), min(ms), max(ms)
    from (
      select o.q, o.state, l.label, date_trunc('minute', ${ended} at time zone 'UTC') at time zone 'UTC' as period,
        greatest(0, round(extract(epoch from ${ended} - o.processed) * 1000))::bigint as ms
      from outcomes o
      cross join lateral (select o.name as label union select '__all__') l
      where o.state in ('completed', 'failed') and o.processed is not null) s
    group by q, label, period order by q, label, period
    on conflict (${col.queueName}, ${col.jobName}, ${col.granularity}, ${col.periodStart}, ${col.shard}) do update set
      ${add(col.completedCount, m.completedCount)}, ${add(col.failedCount, m.failedCount)},
      ${add(col.totalProcessMs, m.totalProcessMs)},
      ${col.minProcessMs} = least(${m.minProcessMs}, excluded.${col.minProcessMs}),
      ${col.maxProcessMs} = greatest(${m.maxProcessMs}, excluded.${col.maxProcessMs})
    returning 1)`;
}

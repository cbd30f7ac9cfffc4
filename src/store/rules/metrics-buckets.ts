import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Cte } from '../../db/cte.js';
import { alias, bare, literal, type Tables } from '../../db/tables.js';
import { now } from '../../db/time.js';
import { ended } from './states.js';

/** A job name that stands for all of a queue's: in its pauses, and in its metrics. */
export const ALL_NAMES = '__all__';

/** Writers of one process share a row of each bucket; processes are spread over so many. */
export const METRIC_SHARDS = 64;

/**
 * Adds rows to their buckets, each to a new one or to the one that is there. `source` selects, in this order: queue,
 * name, granularity, period, shard, completed, failed, total, min and max ms; ordered by their key, so that two
 * statements on one shard do not deadlock.
 */
export function addToBuckets(db: Tables, source: SQL): SQL {
  const col = bare(db.metrics);
  const m = alias(db.metrics, 'm');
  const key = sql`${col.queueName}, ${col.jobName}, ${col.granularity}, ${col.periodStart}, ${col.shard}`;
  const add = (column: SQLWrapper, own: SQLWrapper) => sql`${column} = ${own} + excluded.${column}`;
  return sql`
    insert into ${db.metrics} as ${m} (${key}, ${col.completedCount}, ${col.failedCount}, ${col.totalProcessMs},
      ${col.minProcessMs}, ${col.maxProcessMs})
    ${source}
    on conflict (${key}) do update set
      ${add(col.completedCount, m.completedCount)}, ${add(col.failedCount, m.failedCount)},
      ${add(col.totalProcessMs, m.totalProcessMs)},
      ${col.minProcessMs} = least(${m.minProcessMs}, excluded.${col.minProcessMs}),
      ${col.maxProcessMs} = greatest(${m.maxProcessMs}, excluded.${col.maxProcessMs})
    returning 1`;
}

/**
 * Counts the outcomes of a statement that ends jobs: in a minute bucket for the job's name and one for `__all__`, which a
 * job of that very name enters once.
 *
 * @param shard null: metrics are off
 * @param options `endedAt`: when an outcome ended; it falls into that minute, however late it is written. `where`: only
 * these outcomes
 */
export function countMetrics(
  db: Tables,
  outcomes: Cte<'queueName' | 'name' | 'state' | 'processedAt'>,
  shard: SQLWrapper,
  { endedAt = now, where = sql`true` }: { endedAt?: SQLWrapper; where?: SQLWrapper } = {},
): SQL {
  const { queueName, name, state, processedAt } = outcomes;
  const period = sql`date_trunc('minute', ${endedAt} at time zone 'UTC') at time zone 'UTC'`;
  const ms = sql`greatest(0, round(date_part('epoch', ${endedAt} - ${processedAt}) * 1000))::bigint`;
  // By name first, so that what is written for both labels is computed once per name, not for each job.
  const source = sql`
    select queue, label, 'minute', period, ${shard}::int, sum(completed), sum(failed), sum(total), min(shortest), max(longest)
    from (
      select queue, name, period, count(*) filter (where state = 'completed') as completed,
        count(*) filter (where state = 'failed') as failed, sum(ms) as total, min(ms) as shortest, max(ms) as longest
      from (
        select ${queueName} as queue, ${name} as name, ${state} as state, ${period} as period, ${ms} as ms
        from ${outcomes.table}
        where ${ended(state)} and ${processedAt} is not null and ${shard} is not null and ${where}) counted
      group by queue, name, period) named
    cross join lateral (select name as label union select ${literal(ALL_NAMES)}) labels
    group by queue, label, period order by queue, label, period`;
  return sql`metered as (${addToBuckets(db, source)})`;
}

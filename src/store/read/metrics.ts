import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { epochMs, instantOf } from '../../db/time.js';
import { MetricsDisabledError } from '../../model/errors.js';
import { timeOf } from '../../model/options/dates.js';
import { oneOf, validateQueueName } from '../../model/options/names.js';
import type { MetricsBucket, MetricsQuery } from '../../model/store-interface.js';

/** @throws MetricsDisabledError */
export function requireMetrics(options: { metrics: { enabled: boolean } }): void {
  if (!options.metrics.enabled) throw new MetricsDisabledError();
}

const selectBuckets = statement(
  'metrics',
  ['queue', 'granularity', 'from', 'to'],
  (db, p) => {
    const m = alias(db.metrics, 'm');
    return sql`select ${columns(
      m.jobName,
      epochMs(m.periodStart),
      sql`sum(${m.completedCount})`,
      sql`sum(${m.failedCount})`,
      sql`sum(${m.totalProcessMs})`,
      sql`min(${m.minProcessMs})`,
      sql`max(${m.maxProcessMs})`,
    )} from ${db.metrics} as ${m}
    where ${m.queueName} = ${p.queue} and ${m.granularity} = ${p.granularity}
      and ${m.periodStart} between ${instantOf(p.from)} and ${instantOf(p.to)}
    group by ${m.periodStart}, ${m.jobName} order by ${m.periodStart}, ${m.jobName}`;
  },
  { repeatable: true },
);

/** Buckets that begin from `from` to `to`, both inclusive, by time and then name. */
export async function readMetrics(
  executor: Executor,
  queueName: string,
  query: MetricsQuery,
): Promise<MetricsBucket[]> {
  const queue = validateQueueName(queueName);
  const granularity = oneOf(query.granularity, 'granularity', ['minute', 'hour']);
  const params = { queue, granularity, from: timeOf(query.from, 'from'), to: timeOf(query.to, 'to') };
  const rows = await executor.run(selectBuckets, params);
  return (rows as string[][]).map(([jobName, period, completed, failed, total, min, max]) => ({
    queueName: queue,
    jobName: jobName as string,
    granularity,
    periodStart: new Date(Number(period)),
    completedCount: Number(completed),
    failedCount: Number(failed),
    totalProcessMs: Number(total),
    minProcessMs: min == null ? null : Number(min),
    maxProcessMs: max == null ? null : Number(max),
  }));
}

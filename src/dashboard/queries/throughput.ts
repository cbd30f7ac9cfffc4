import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, literal } from '../../db/tables.js';
import { epochMs, instantOf } from '../../db/time.js';
import { ALL_NAMES } from '../../store/rules/metrics-buckets.js';
import { PAGE_TIMEOUT } from './limits.js';

export const MINUTE = 60_000;
/** How many minutes a chart shows, the one that has begun included. */
export const CHART_MINUTES = 60;

/** Jobs that ended in each minute, the newest minute last. */
export interface Throughput {
  /** Epoch ms at which the first minute begins. */
  readonly from: number;
  readonly completed: readonly number[];
  readonly failed: readonly number[];
}

const selectMinutes = statement(
  'dashboard throughput',
  ['queues', 'from'],
  (db, p) => {
    const m = alias(db.metrics, 'm');
    return sql`
      select ${columns(sql`q.name`, epochMs(sql`b.at`), sql`b.completed`, sql`b.failed`)}
      from jsonb_array_elements_text(${p.queues}::jsonb) as q(name) cross join lateral (
        select ${m.periodStart} as at, sum(${m.completedCount}) as completed, sum(${m.failedCount}) as failed
        from ${db.metrics} as ${m}
        where ${m.queueName} = q.name and ${m.jobName} = ${literal(ALL_NAMES)} and ${m.granularity} = 'minute'
          and ${m.periodStart} >= ${instantOf(p.from)}
        group by ${m.periodStart}) b`;
  },
  { repeatable: true },
);

/** The last hour of each queue, from the metrics that its workers write. */
export async function readThroughput(
  executor: Executor,
  queues: readonly string[],
  now: number,
): Promise<Map<string, Throughput>> {
  const from = Math.floor(now / MINUTE) * MINUTE - (CHART_MINUTES - 1) * MINUTE;
  const series = new Map(queues.map((name) => [name, empty(from)]));
  if (queues.length === 0) return series;
  const values = { queues: JSON.stringify(queues), from };
  for (const [name, at, completed, failed] of await executor.run(selectMinutes, values, { timeout: PAGE_TIMEOUT })) {
    const i = Math.round((Number(at) - from) / MINUTE);
    const of = series.get(name as string);
    if (!of || i < 0 || i >= CHART_MINUTES) continue;
    of.completed[i] = Number(completed);
    of.failed[i] = Number(failed);
  }
  return series;
}

const empty = (from: number) => ({
  from,
  completed: new Array<number>(CHART_MINUTES).fill(0),
  failed: new Array<number>(CHART_MINUTES).fill(0),
});

/** All of them together. */
export function total(all: Iterable<Throughput>, now: number): Throughput {
  const sum = empty(Math.floor(now / MINUTE) * MINUTE - (CHART_MINUTES - 1) * MINUTE);
  for (const { completed, failed } of all) {
    for (let i = 0; i < CHART_MINUTES; i++) {
      sum.completed[i]! += completed[i]!;
      sum.failed[i]! += failed[i]!;
    }
  }
  return sum;
}

/** The last minute that is over: the one that has begun tells little yet. */
export function perMinute({ completed, failed }: Throughput): { completed: number; failed: number } {
  return { completed: completed.at(-2) ?? 0, failed: failed.at(-2) ?? 0 };
}

export const isEmpty = ({ completed, failed }: Throughput): boolean => [...completed, ...failed].every((n) => n === 0);

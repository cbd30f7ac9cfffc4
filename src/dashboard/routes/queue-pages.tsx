import { validateQueueName } from '../../model/options/names.js';
import { getPausedNames } from '../../store/read/pauses.js';
import { ALL_NAMES } from '../../store/rules/metrics-buckets.js';
import { QueuePage } from '../pages/queue.js';
import { Schedules } from '../pages/schedules.js';
import { estimate } from '../queries/estimates.js';
import { readGroups } from '../queries/groups.js';
import { readSummaryOf } from '../queries/overview.js';
import { readLatency, readRate, readWorkers } from '../queries/queue.js';
import { readSchedules, type SchedulePage } from '../queries/schedules.js';
import { readThroughput } from '../queries/throughput.js';
import type { Redact } from '../security/redact.js';
import { type Context, viewOf } from './context.js';
import type { Fields } from './pages.js';

export async function queuePage(context: Context, fields: Fields) {
  const { executor, options } = context.store.engine;
  const queue = validateQueueName(fields['queue']);
  const view = viewOf(context);
  const [summary, series, latency, workers, groups, rate, schedules, paused] = await Promise.all([
    readSummaryOf(executor, queue),
    readThroughput(executor, [queue], view.now),
    readLatency(executor, queue),
    readWorkers(executor, queue),
    readGroups(executor, queue),
    readRate(executor, queue),
    readSchedules(executor, { queue, after: null }),
    getPausedNames(executor, queue),
  ]);
  const [counts] = await estimate(executor, [summary]);
  const data = {
    ...{ summary, latency, workers, groups, rate },
    counts: counts!,
    series: series.get(queue)!,
    metrics: options.metrics.enabled,
    schedules: shownSchedules(schedules, context.redact),
    pausedNames: paused.filter((name) => name !== ALL_NAMES),
  };
  return <QueuePage view={view} data={data} />;
}

export async function schedulesPage(context: Context, fields: Fields) {
  const view = viewOf(context);
  const queue = fields['queue'] === undefined ? undefined : validateQueueName(fields['queue']);
  const after = keyIn(fields['after']);
  const page = await readSchedules(context.store.engine.executor, { queue: queue ?? null, after });
  const last = page.schedules.at(-1);
  const next = page.hasMore && last ? JSON.stringify([last.queueName, last.key]) : null;
  return <Schedules view={view} page={shownSchedules(page, context.redact)} queue={queue} next={next} />;
}

/** The key that a page goes on behind, as JSON; null for anything else. */
function keyIn(text: string | undefined): { queue: string; key: string } | null {
  try {
    const [queue, key] = JSON.parse(text ?? '[]') as unknown[];
    const isText = (value: unknown): value is string =>
      typeof value === 'string' && !value.includes('\0') && value.isWellFormed();
    return isText(queue) && isText(key) ? { queue, key } : null;
  } catch {
    return null;
  }
}

function shownSchedules(page: SchedulePage, redact: Redact): SchedulePage {
  return {
    ...page,
    schedules: page.schedules.map((schedule) => {
      const { key, jobName, queueName, data, opts } = schedule;
      return { ...schedule, ...redactedOf(redact({ id: key, name: jobName, queueName, data, opts })) };
    }),
  };
}

const redactedOf = ({ data, opts }: ReturnType<Redact>) => ({ data, opts });

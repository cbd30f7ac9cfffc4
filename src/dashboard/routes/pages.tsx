import { validateQueueName } from '../../model/options/names.js';
import { Jobs } from '../pages/jobs.js';
import { NoQueue } from '../pages/no-queue.js';
import { Overview } from '../pages/overview.js';
import { estimate } from '../queries/estimates.js';
import { filterOf, statesOf } from '../queries/job-filter.js';
import { cursorIn, readJobs } from '../queries/jobs.js';
import { PAGE_SIZE } from '../queries/limits.js';
import { readQueueNames, readSummaries, readSummaryOf } from '../queries/overview.js';
import { readThroughput, total } from '../queries/throughput.js';
import { isSecret } from '../security/redact.js';
import { acceptsOf } from '../verbs/accepts.js';
import { type Context, viewOf } from './context.js';

/** Each page: its reads, then what it looks like. */

export type Fields = Readonly<Record<string, string | undefined>>;

export async function overviewPage(context: Context) {
  const { engine } = context.store;
  const view = viewOf(context);
  const summaries = await readSummaries(engine.executor);
  const names = summaries.map(({ name }) => name);
  const [counts, series] = await Promise.all([
    estimate(engine.executor, summaries),
    readThroughput(engine.executor, names, view.now),
  ]);
  const queues = summaries.map((summary, i) => ({ summary, counts: counts[i]!, series: series.get(summary.name)! }));
  const all = total(series.values(), view.now);
  return <Overview view={view} data={{ queues, all, metrics: engine.options.metrics.enabled }} />;
}

export async function jobsPage(context: Context, fields: Fields) {
  const { executor } = context.store.engine;
  const view = viewOf(context);
  const names = await readQueueNames(executor);
  const queue = fields['queue'] === undefined ? names[0] : validateQueueName(fields['queue']);
  if (queue === undefined) return <NoQueue view={view} />;
  const { filter, problems } = filterOf(queue, fields, isSecret);
  const cursor = cursorIn(fields['after'], statesOf(filter));
  const [summary, page] = await Promise.all([
    readSummaryOf(executor, queue),
    readJobs(executor, filter, { cursor, limit: PAGE_SIZE, accepts: acceptsOf(filter, context.redact) }),
  ]);
  const [counts] = await estimate(executor, [summary]);
  const jobs = page.jobs.map((job) => {
    const { id, name, queueName, data, failedReason } = job;
    const shown = context.redact({ id, name, queueName, data, opts: {}, failedReason });
    return { ...job, data: shown.data, failedReason: shown.failedReason ?? null };
  });
  return (
    <Jobs
      view={view}
      data={{
        ...{ filter, problems, names, counts: counts!, page: { ...page, jobs }, paused: summary.paused },
        isLater: cursor !== null,
      }}
    />
  );
}

import type { JobState } from '../../model/job.js';
import { Sparkline, ThroughputChart } from '../components/chart.js';
import { Page } from '../components/layout.js';
import { Counted, Empty, number, Panel, STATE_WORDS, Stat, Time } from '../components/parts.js';
import type { View } from '../components/view.js';
import type { Count, Counts } from '../queries/estimates.js';
import { MAX_QUEUES } from '../queries/limits.js';
import type { QueueSummary } from '../queries/overview.js';
import { perMinute, type Throughput } from '../queries/throughput.js';

export interface OverviewData {
  readonly queues: readonly { summary: QueueSummary; counts: Counts; series: Throughput }[];
  readonly all: Throughput;
  /** Whether this store writes metrics itself. */
  readonly metrics: boolean;
}

const COLUMNS: readonly JobState[] = ['waiting', 'active', 'delayed', 'waiting-children', 'failed', 'completed'];

export function Overview({ view, data }: { view: View; data: OverviewData }) {
  const { queues, all, metrics } = data;
  return (
    <Page view={view} title="Overview" section="overview" charts>
      <div class="head">
        <h1>Overview</h1>
        <span class="quiet">{queues.length === 1 ? '1 queue' : `${number(queues.length)} queues`}</span>
      </div>
      <Totals {...data} />
      <ThroughputChart series={all} metrics={metrics} />
      <Panel
        title="Queues"
        note={queues.length >= MAX_QUEUES ? `the first ${MAX_QUEUES} by name` : undefined}
        keyed="queues"
      >
        {queues.length === 0 ? (
          <Empty>There are no queues yet. A queue is listed as soon as it has a job, a schedule or a pause.</Empty>
        ) : (
          <div class="scroll">
            <table class="cards">
              <thead>
                <tr>
                  <th scope="col">Queue</th>
                  {COLUMNS.map((state) => (
                    <th scope="col" class="number" title={STATE_WORDS[state]}>
                      {state === 'waiting-children' ? 'Children' : STATE_WORDS[state]}
                    </th>
                  ))}
                  <th scope="col" class="when" title="The oldest of the jobs that are next in line">
                    Oldest wait
                  </th>
                  <th scope="col" class="number" title="Different workers that hold a lease now">
                    Workers
                  </th>
                  <th scope="col" class="number" title="Completed and failed in the last whole minute">
                    Per min
                  </th>
                  <th scope="col">Last hour</th>
                </tr>
              </thead>
              <tbody>
                {queues.map((queue) => (
                  <QueueRow view={view} {...queue} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </Page>
  );
}

function QueueRow(props: { view: View; summary: QueueSummary; counts: Counts; series: Throughput }) {
  const { view, summary, counts, series } = props;
  const { name } = summary;
  const minute = perMinute(series);
  return (
    <tr data-key={name}>
      <th scope="row">
        <a href={view.links.queue(name)}>{name}</a> {summary.paused ? <span class="tag warn">Paused</span> : null}
        {summary.pausedNames > 0 ? <span class="tag warn">{summary.pausedNames} paused by name</span> : null}
        {summary.expired > 0 ? <span class="tag bad">{summary.expired} stalled</span> : null}
      </th>
      {COLUMNS.map((state) => (
        <td class={`number${counts[state].value === 0 ? ' none' : ''}`} data-label={STATE_WORDS[state]}>
          {counts[state].value === 0 ? (
            '0'
          ) : (
            <a class={state === 'failed' ? 'ink-failed' : undefined} href={view.links.jobs({ queue: name, state })}>
              <Counted count={counts[state]} />
            </a>
          )}
        </td>
      ))}
      <td class={`when${summary.oldestWaiting ? '' : ' none'}`} data-label="Oldest wait">
        <Time at={summary.oldestWaiting} view={view} />
      </td>
      <td class={`number${summary.workers ? '' : ' none'}`} data-label="Workers">
        {number(summary.workers)}
      </td>
      <td class="number" data-label="Per minute">
        {number(minute.completed)}
        {minute.failed > 0 ? <span class="ink-failed"> +{number(minute.failed)} failed</span> : null}
      </td>
      <td data-label="Last hour">
        <Sparkline series={series} />
      </td>
    </tr>
  );
}

function Totals({ queues, all }: OverviewData) {
  const sum = (state: JobState): Count => {
    const counts = queues.map((queue) => queue.counts[state]);
    const value = counts.reduce((total, count) => total + count.value, 0);
    const kinds = new Set(counts.map(({ kind }) => kind));
    return { value, kind: kinds.has('about') ? 'about' : kinds.has('least') ? 'least' : 'exact' };
  };
  const minute = perMinute(all);
  return (
    <div class="stats">
      {(['waiting', 'active', 'delayed', 'failed'] as const).map((state) => (
        <Stat label={STATE_WORDS[state]}>
          <Counted count={sum(state)} />
        </Stat>
      ))}
      <Stat label="Completed / min">{number(minute.completed)}</Stat>
      <Stat label="Failed / min">
        <span class={minute.failed > 0 ? 'ink-failed' : undefined}>{number(minute.failed)}</span>
      </Stat>
      <Stat label="Busy workers">{number(queues.reduce((n, { summary }) => n + summary.workers, 0))}</Stat>
    </div>
  );
}

import { ThroughputChart } from '../components/chart.js';
import { Page } from '../components/layout.js';
import { Counted, Empty, number, Panel, STATE_WORDS, Stat, Time, Verb } from '../components/parts.js';
import { duration } from '../components/relative.js';
import type { View } from '../components/view.js';
import type { Counts } from '../queries/estimates.js';
import type { GroupUse } from '../queries/groups.js';
import type { QueueSummary } from '../queries/overview.js';
import type { Latency, RateUse, WorkerLeases } from '../queries/queue.js';
import type { SchedulePage } from '../queries/schedules.js';
import type { Throughput } from '../queries/throughput.js';
import { QueueHead } from './queue-head.js';
import { Groups, Workers } from './queue-tables.js';
import { ScheduleTable } from './schedule-table.js';

export interface QueueData {
  readonly summary: QueueSummary;
  readonly counts: Counts;
  readonly series: Throughput;
  readonly metrics: boolean;
  readonly latency: Latency | null;
  readonly workers: readonly WorkerLeases[];
  readonly groups: readonly GroupUse[];
  readonly rate: RateUse | null;
  readonly schedules: SchedulePage;
  /** Names of jobs that are paused on their own. */
  readonly pausedNames: readonly string[];
}

const SHOWN = ['waiting', 'active', 'delayed', 'waiting-children', 'failed', 'completed'] as const;

export function QueuePage({ view, data }: { view: View; data: QueueData }) {
  const { summary, counts, series, metrics, schedules } = data;
  const { name } = summary;
  return (
    <Page view={view} title={name} section="overview" queue={name} charts>
      <QueueHead view={view} queue={name} paused={summary.paused} tab="queue" />
      <div class="stats">
        {SHOWN.map((state) => (
          <Stat label={STATE_WORDS[state]} href={view.links.jobs({ queue: name, state })}>
            <span class={state === 'failed' && counts.failed.value > 0 ? 'ink-failed' : undefined}>
              <Counted count={counts[state]} />
            </span>
          </Stat>
        ))}
      </div>
      <ThroughputChart series={series} metrics={metrics} />
      <div class="split">
        <Speed view={view} {...data} />
        <Workers view={view} workers={data.workers} />
      </div>
      <Panel title="Schedules" note={schedules.hasMore ? 'the first by key' : undefined} keyed="schedules">
        {schedules.schedules.length === 0 ? (
          <Empty>This queue has no repeating jobs.</Empty>
        ) : (
          <ScheduleTable view={view} schedules={schedules.schedules} withQueue={false} />
        )}
      </Panel>
      <Groups view={view} groups={data.groups} />
    </Page>
  );
}

function Speed({ view, summary, latency, rate, pausedNames }: { view: View } & QueueData) {
  const { name } = summary;
  return (
    <Panel title="Speed and limits" keyed="speed">
      <div class="body">
        <dl class="facts">
          <dt>Run time p50</dt>
          <dd>{latency ? duration(latency.p50) : <span class="quiet">no completed job is kept</span>}</dd>
          {latency ? (
            <>
              <dt>Run time p95</dt>
              <dd>{duration(latency.p95)}</dd>
              <dt>Longest</dt>
              <dd>
                {duration(latency.max)} <span class="quiet">of the newest {number(latency.sample)} that are kept</span>
              </dd>
            </>
          ) : null}
          <dt title="The oldest of the jobs that are next in line">Oldest wait</dt>
          <dd>
            <Time at={summary.oldestWaiting} view={view} none="nothing waits" />
          </dd>
          <dt>Rate limit</dt>
          <dd>
            {rate ? (
              `${number(rate.claimed)} claimed in the last ${duration(rate.window)}`
            ) : (
              <span class="quiet">no claims under one</span>
            )}
          </dd>
          {pausedNames.length > 0 ? (
            <>
              <dt>Paused names</dt>
              <dd>
                {pausedNames.map((jobName) => (
                  <span class="line">
                    <span class="tag warn">{jobName}</span>{' '}
                    <Verb view={view} to="queue" body={{ verb: 'resume', queue: name, jobName }}>
                      Resume
                    </Verb>
                  </span>
                ))}
              </dd>
            </>
          ) : null}
        </dl>
      </div>
    </Panel>
  );
}

import { Page } from '../components/layout.js';
import { Empty, Panel } from '../components/parts.js';
import type { View } from '../components/view.js';
import type { SchedulePage } from '../queries/schedules.js';
import { ScheduleTable } from './schedule-table.js';

export function Schedules(props: { view: View; page: SchedulePage; queue: string | undefined; next: string | null }) {
  const { view, page, queue, next } = props;
  return (
    <Page view={view} title="Schedules" section="schedules" queue={queue}>
      <div class="head">
        <h1>{queue ? `Schedules of ${queue}` : 'Schedules'}</h1>
      </div>
      <Panel title="Repeating jobs" note="by queue and key" keyed="schedules">
        {page.schedules.length === 0 ? (
          <Empty>There are no schedules. queue.every() and queue.cron() make them.</Empty>
        ) : (
          <ScheduleTable view={view} schedules={page.schedules} withQueue={true} />
        )}
        {next ? (
          <div class="pager">
            <a class="button" rel="next" href={view.links.schedules(queue, next)}>
              Next page
            </a>
          </div>
        ) : null}
      </Panel>
    </Page>
  );
}

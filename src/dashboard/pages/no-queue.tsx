import { Page } from '../components/layout.js';
import { Empty, Panel } from '../components/parts.js';
import type { View } from '../components/view.js';

export function NoQueue({ view }: { view: View }) {
  return (
    <Page view={view} title="Jobs" section="jobs">
      <div class="head">
        <h1>Jobs</h1>
      </div>
      <Panel title="No queue">
        <Empty>There are no queues yet. A queue is listed as soon as it has a job, a schedule or a pause.</Empty>
      </Panel>
    </Page>
  );
}

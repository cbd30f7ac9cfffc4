import type { JobData } from '../../model/job.js';
import { Panel, Time } from '../components/parts.js';
import type { View } from '../components/view.js';

interface FactsProps {
  readonly view: View;
  readonly job: JobData;
  readonly scheduleKey: string | null;
  readonly stalledCount: number;
}

/** What is known of a job beside its payload. */
export function Facts({ view, job, scheduleKey, stalledCount }: FactsProps) {
  const { parentId, parentQueueName, groupId, opts } = job;
  const attempts = Math.max(opts.attempts ?? 1, job.attemptsMade);
  return (
    <Panel title="Job" keyed="facts">
      <div class="body">
        <dl class="facts">
          <dt>Id</dt>
          <dd class="mono">{job.id}</dd>
          <dt>Failed attempts</dt>
          <dd>
            {job.attemptsMade} of {attempts}
            {job.discarded ? <span class="quiet"> · no more retries</span> : null}
          </dd>
          <dt>Priority</dt>
          <dd>{opts.priority ?? 0}</dd>
          <Moment name="Started" at={job.processedAt} view={view} />
          <Moment name="Completed" at={job.completedAt} view={view} />
          <Moment name="Failed" at={job.failedAt} view={view} />
          <Moment name="Cancelled" at={job.cancelledAt} view={view} />
          <Fact name="Group" value={groupId} />
          <Fact name="Deduplication key" value={job.deduplicationKey} />
          <Fact name="Schedule" value={scheduleKey} />
          <Fact name="Stalled" value={stalledCount > 0 ? `${stalledCount} times` : null} />
          <Fact name="Worker" value={job.lockedBy} />
          <Moment name="Lease ends" at={job.lockUntil} view={view} />
          {parentId !== null && parentQueueName !== null ? (
            <>
              <dt>Parent</dt>
              <dd>
                <a href={view.links.job(parentQueueName, parentId)}>{parentId}</a>
              </dd>
            </>
          ) : null}
        </dl>
      </div>
    </Panel>
  );
}

function Fact({ name, value }: { name: string; value: string | null }) {
  if (value === null) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd class="mono">{value}</dd>
    </>
  );
}

function Moment({ name, at, view }: { name: string; at: Date | null; view: View }) {
  if (!at) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <Time at={at} view={view} />
      </dd>
    </>
  );
}

import type { AttemptRecord, JobData } from '../../model/job.js';
import { beginning, newest } from './cut.js';
import { Panel, Time } from './parts.js';
import { duration } from './relative.js';
import type { View } from './view.js';

/** Of more attempts only the newest are shown. */
const MAX_ATTEMPTS = 10;
/** Characters of one attempt. */
const MAX_ERROR = 500;
const MAX_STACK = 1_500;
const MAX_LOG = 1_500;

const dateOf = (text: string | null): Date | null => (text ? new Date(text) : null);

/** The life of a job: added, each attempt, and where it is now. */
export function Timeline({ view, job, records }: { view: View; job: JobData; records: readonly AttemptRecord[] }) {
  const hidden = Math.max(0, records.length - MAX_ATTEMPTS);
  const shown = records.slice(hidden).reverse();
  return (
    <Panel
      title="Timeline"
      note={hidden > 0 ? `the newest ${MAX_ATTEMPTS} of ${records.length} attempts` : undefined}
      keyed="timeline"
    >
      <div class="body">
        <ol class="timeline">
          <Now view={view} job={job} />
          {shown.map((record) => (
            <Attempt view={view} record={record} />
          ))}
          <li data-key="added">
            <div class="line">
              <strong>Added</strong>
              <span class="quiet">
                <Time at={job.createdAt} view={view} />
              </span>
            </div>
          </li>
        </ol>
      </div>
    </Panel>
  );
}

/** What the job does now, if it has not ended. */
function Now({ view, job }: { view: View; job: JobData }) {
  const line = (words: string, at: Date | null, more: string | null = null) => (
    <li class={`state-${job.state}`} data-key="now">
      <div class="line">
        <strong>{words}</strong>
        <span class="quiet">
          <Time at={at} view={view} />
        </span>
        {more ? <span class="quiet">{more}</span> : null}
      </div>
    </li>
  );
  if (job.state === 'active') {
    const word = job.cancelledAt ? 'Cancelling' : 'Running';
    return line(`${word}: attempt ${job.attemptsMade + 1}`, job.processedAt, job.lockedBy && `by ${job.lockedBy}`);
  }
  if (job.state === 'delayed') return line(job.attemptsMade > 0 ? 'Next attempt' : 'Due', job.delayUntil);
  if (job.state === 'waiting') return line('Waiting for a worker', null);
  if (job.state === 'waiting-children') return line(`Waiting for ${job.pendingChildrenCount} children`, null);
  if (job.cancelledAt) return line('Cancelled', job.cancelledAt);
  return null;
}

function Attempt({ view, record }: { view: View; record: AttemptRecord }) {
  const { attempt, status, error, stacktrace, logs } = record;
  const [started, ended] = [dateOf(record.startedAt), dateOf(record.endedAt)];
  const took = started && ended ? ended.getTime() - started.getTime() : null;
  const state = status === 'completed' ? 'completed' : 'failed';
  return (
    <li class={`state-${state}`} data-key={`attempt-${attempt}`}>
      <div class="line">
        <strong>Attempt {attempt}</strong>
        <span class={`ink-${state}`}>{state === 'completed' ? 'Completed' : 'Failed'}</span>
        <span class="quiet">
          <Time at={ended ?? started} view={view} />
        </span>
        {took !== null && took >= 0 ? <span class="quiet">took {duration(took)}</span> : null}
      </div>
      {error ? <div class="reason">{beginning(error, MAX_ERROR)}</div> : null}
      {stacktrace ? (
        <details>
          <summary>Stack</summary>
          <pre tabindex={0}>{beginning(stacktrace, MAX_STACK)}</pre>
        </details>
      ) : null}
      {Array.isArray(logs) && logs.length > 0 ? (
        <details>
          <summary>{logs.length === 1 ? '1 line logged' : `${logs.length} lines logged`}</summary>
          <pre tabindex={0}>{newest(logs, MAX_LOG)}</pre>
        </details>
      ) : null}
    </li>
  );
}

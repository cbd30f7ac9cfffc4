import type { JobData } from '../../model/job.js';
import { Timeline } from '../components/attempts.js';
import { beginning, newest } from '../components/cut.js';
import { FlowList } from '../components/flow-tree.js';
import { Json } from '../components/json.js';
import { Page } from '../components/layout.js';
import { number, Panel, State, Verb } from '../components/parts.js';
import { type JobVerb, VERB_WORDS, verbsOf } from '../components/verbs.js';
import type { View } from '../components/view.js';
import { type FlowTree, keyOf, MAX_NODES } from '../queries/flows.js';
import { Facts } from './job-facts.js';

export interface JobDetails {
  /** Redacted. */
  readonly job: JobData;
  readonly scheduleKey: string | null;
  readonly stalledCount: number;
  readonly tree: FlowTree | null;
}

/** While a job runs its logs grow, which no event tells. */
const RUNNING_POLL = 1_500;

/** Characters. */
const MAX_REASON = 2_000;
const MAX_STACK = 6_000;
const MAX_LOG = 8_000;

const QUESTIONS: Partial<Record<JobVerb, string>> = {
  cancel: 'Cancel this job?',
  remove: 'Remove this job? It cannot be brought back.',
};

export function JobPage({ view, data }: { view: View; data: JobDetails }) {
  const { job, tree } = data;
  const { queueName, id, name } = job;
  return (
    <Page
      view={view}
      title={`${name} ${id}`}
      section="jobs"
      queue={tree ? undefined : queueName}
      poll={job.state === 'active' ? RUNNING_POLL : undefined}
    >
      <div class="head">
        <span class="crumb">
          <a href={view.links.queue(queueName)}>{queueName}</a> /{' '}
          <a href={view.links.jobs({ queue: queueName, state: job.state })}>jobs</a>
        </span>
        <h1>{name}</h1>
        <State state={job.state} />
        {job.state === 'active' ? (
          <span class="quiet">
            <progress value={job.progress} max="100" aria-label="Progress" /> {number(Math.round(job.progress))} %
          </span>
        ) : null}
        <div class="actions">
          <a class="button" href={view.links.json(queueName, id)}>
            JSON
          </a>
          {verbsOf(job.state).map((verb) => (
            <Verb
              view={view}
              to="jobs"
              body={{ verb, queue: queueName, ids: [id] }}
              kind={verb === 'remove' ? 'danger' : verb === 'retry' || verb === 'promote' ? 'primary' : undefined}
              confirm={QUESTIONS[verb]}
            >
              {VERB_WORDS[verb]}
            </Verb>
          ))}
        </div>
      </div>
      {job.state === 'failed' && job.failedReason ? (
        <Panel title="Why it failed" keyed="reason">
          <div class="body">
            <p class="reason">{beginning(job.failedReason, MAX_REASON)}</p>
            <Stacks job={job} />
          </div>
        </Panel>
      ) : null}
      <div class="split">
        <Facts view={view} job={job} scheduleKey={data.scheduleKey} stalledCount={data.stalledCount} />
        <Timeline view={view} job={job} records={job.attemptLogs} />
      </div>
      {tree ? (
        <Panel title="Flow" note={tree.isCut ? `the first ${MAX_NODES} jobs` : undefined} keyed="flow">
          <div class="body">
            <FlowList view={view} tree={tree} current={keyOf(queueName, id)} />
          </div>
        </Panel>
      ) : null}
      <Logs lines={job.logs} />
      <div class="split">
        <Json title="Data" value={job.data} keyed="data" />
        <Json title="Result" value={job.returnvalue} keyed="result" />
        <Json title="Options" value={job.opts} keyed="options" />
      </div>
    </Page>
  );
}

/** The stack of the last failure, with the chain of its causes. */
function Stacks({ job }: { job: JobData }) {
  const last = job.stacktrace.at(-1);
  if (!last) return null;
  return (
    <details open>
      <summary>Stack of the last failure</summary>
      <pre tabindex={0}>{beginning(last, MAX_STACK)}</pre>
    </details>
  );
}

function Logs({ lines }: { lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <Panel title="Logs" note={lines.length === 1 ? '1 line' : `${number(lines.length)} lines`} keyed="logs">
      <div class="body">
        <pre tabindex={0}>{newest(lines, MAX_LOG)}</pre>
      </div>
    </Panel>
  );
}

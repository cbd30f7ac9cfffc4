import { JOB_STATES, type JobState } from '../../model/job.js';
import { State, Time } from '../components/parts.js';
import type { View } from '../components/view.js';
import type { JobPage, ListedJob } from '../queries/jobs.js';

/** What the time in the list tells, by state. */
const WHEN: Readonly<Record<JobState, string>> = {
  waiting: 'Added',
  'waiting-children': 'Added',
  delayed: 'Due',
  active: 'Started',
  completed: 'Completed',
  failed: 'Failed',
};

function whenOf(job: ListedJob): Date | null {
  if (job.state === 'delayed') return job.delayUntil;
  if (job.state === 'active') return job.processedAt;
  return job.endedAt ?? job.createdAt;
}

export function JobTable({ view, page, state }: { view: View; page: JobPage; state: JobState | undefined }) {
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            {view.writable ? (
              <th scope="col" class="check">
                <input type="checkbox" data-select="page" aria-label="Select all jobs of this page" />
              </th>
            ) : null}
            <th scope="col">Job</th>
            {state ? null : <th scope="col">State</th>}
            <th scope="col">{state === 'failed' ? 'Reason' : 'Data'}</th>
            <th scope="col" class="number">
              Attempts
            </th>
            <th scope="col" class="when">
              {state ? WHEN[state] : 'When'}
            </th>
          </tr>
        </thead>
        <tbody>
          {page.jobs.map((job) => (
            <JobRow view={view} job={job} state={state} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

const isKnown = (state: JobState) => (JOB_STATES as readonly string[]).includes(state);

function JobRow({ view, job, state }: { view: View; job: ListedJob; state: JobState | undefined }) {
  const detail = job.state === 'failed' ? (job.failedReason ?? '') : dataText(job.data);
  return (
    <tr data-key={job.id}>
      {view.writable ? (
        <td class="check">
          <input type="checkbox" data-select="job" value={job.id} aria-label={`Select job ${job.id}`} />
        </td>
      ) : null}
      <td class="name-cell">
        <a href={view.links.job(job.queueName, job.id)}>{job.name}</a>
        <small>{job.id}</small>
      </td>
      {state ? null : (
        <td data-label="State">
          <State state={job.state} />
        </td>
      )}
      <td class={`detail${job.state === 'failed' ? '' : ' mono'}`} title={job.state === 'failed' ? detail : undefined}>
        {job.state === 'active' && job.progress > 0 ? (
          <progress value={job.progress} max="100" aria-label="Progress" />
        ) : null}
        {detail}
      </td>
      <td class="number" data-label="Attempts">
        {job.attemptsMade} of {Math.max(job.attempts, job.attemptsMade)}
      </td>
      <td class="when" data-label={isKnown(job.state) ? WHEN[job.state] : 'Added'}>
        <Time at={whenOf(job)} view={view} />
      </td>
    </tr>
  );
}

const MAX_DATA = 120;

function dataText(data: unknown): string {
  if (data === undefined) return '(large)';
  const text = JSON.stringify(data) ?? '';
  return text.length > MAX_DATA ? `${text.slice(0, MAX_DATA)}…` : text;
}

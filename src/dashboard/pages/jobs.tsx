import { JOB_STATES, type JobState } from '../../model/job.js';
import { Page } from '../components/layout.js';
import { Counted, Empty, number, STATE_WORDS, State, Time } from '../components/parts.js';
import { VERB_WORDS, verbsOf } from '../components/verbs.js';
import type { View } from '../components/view.js';
import type { Counts } from '../queries/estimates.js';
import { fieldsOf, type JobFilter, STATE_ORDER } from '../queries/job-filter.js';
import type { JobPage, ListedJob } from '../queries/jobs.js';
import { FilterBar } from './filter-bar.js';
import { QueueHead } from './queue-head.js';

export interface JobsData {
  readonly filter: JobFilter;
  /** Why a field of the filter cannot be used. */
  readonly problems: readonly string[];
  readonly names: readonly string[];
  readonly counts: Counts;
  readonly page: JobPage;
  readonly paused: boolean;
  /** It is not the first page. */
  readonly isLater: boolean;
}

export function Jobs({ view, data }: { view: View; data: JobsData }) {
  const { filter, page, counts } = data;
  const { queue, state } = filter;
  return (
    <Page view={view} title={`Jobs of ${queue}`} section="jobs" queue={queue}>
      <QueueHead view={view} queue={queue} paused={data.paused} tab="jobs" />
      <nav class="states" aria-label="States">
        {[undefined, ...STATE_ORDER].map((each) => (
          <a
            href={view.links.filtered({ ...filter, state: each }, null)}
            aria-current={each === state ? 'true' : undefined}
          >
            {each ? STATE_WORDS[each] : 'All states'}
            {each ? (
              <span class="quiet">
                <Counted count={counts[each]} />
              </span>
            ) : null}
          </a>
        ))}
      </nav>
      <section class="panel" aria-label="Jobs" data-key="jobs">
        <FilterBar view={view} {...data} />
        {data.problems.map((problem) => (
          <p class="empty reason">{problem}</p>
        ))}
        <Toolbar view={view} filter={filter} />
        {page.jobs.length === 0 ? <Empty>{nothing(data)}</Empty> : <JobTable view={view} page={page} state={state} />}
        <div class="pager">
          {page.scanned !== null ? (
            <span class="quiet">
              Looked through {number(page.scanned)} jobs, {number(page.jobs.length)} of which match.
            </span>
          ) : (
            <span class="quiet">{page.jobs.length === 1 ? '1 job' : `${page.jobs.length} jobs`} on this page</span>
          )}
          {data.isLater ? (
            <a class="button" href={view.links.filtered(filter, null)}>
              First page
            </a>
          ) : null}
          {page.next ? (
            <a class="button" rel="next" href={view.links.filtered(filter, page.next)}>
              {page.scanned === null ? 'Next page' : 'Search on'}
            </a>
          ) : null}
        </div>
      </section>
    </Page>
  );
}

function nothing({ page, filter, isLater }: JobsData): string {
  if (page.scanned !== null) return 'None of these jobs match. The search goes on from here.';
  if (isLater) return 'There are no more jobs.';
  return filter.state ? `No ${STATE_WORDS[filter.state].toLowerCase()} job matches.` : 'No job matches.';
}

function Toolbar({ view, filter }: { view: View; filter: JobFilter }) {
  if (!view.writable) return null;
  return (
    <div
      class="toolbar"
      role="toolbar"
      aria-label="What to do with the selected jobs"
      data-filter={JSON.stringify(fieldsOf(filter))}
    >
      <span data-count role="status">
        0 selected
      </span>
      {verbsOf(filter.state).map((verb) => (
        <button type="button" data-bulk={verb} disabled class={verb === 'remove' ? 'danger' : undefined}>
          {VERB_WORDS[verb]}
        </button>
      ))}
      <label>
        <input type="checkbox" data-select="all" /> All that match, also on other pages
      </label>
    </div>
  );
}

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

function JobTable({ view, page, state }: { view: View; page: JobPage; state: JobState | undefined }) {
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

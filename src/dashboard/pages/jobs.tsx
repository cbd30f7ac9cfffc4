import { Page } from '../components/layout.js';
import { Counted, Empty, number, STATE_WORDS } from '../components/parts.js';
import { VERB_WORDS, verbsOf } from '../components/verbs.js';
import type { View } from '../components/view.js';
import type { Counts } from '../queries/estimates.js';
import { fieldsOf, type JobFilter, STATE_ORDER } from '../queries/job-filter.js';
import type { JobPage } from '../queries/jobs.js';
import { FilterBar } from './filter-bar.js';
import { JobTable } from './job-table.js';
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

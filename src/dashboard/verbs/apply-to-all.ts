import type { PgStore } from '../../store/contract/pg-store.js';
import type { JobVerb } from '../components/verbs.js';
import { isWholeState, type JobFilter } from '../queries/job-filter.js';
import { type Cursor, type ListedJob, readJobs } from '../queries/jobs.js';
import { type Applied, applyToEach } from './apply.js';

/** Jobs that one call changes at most, and how long it goes on, in ms: who asked is told that there are more. */
const MAX_JOBS = 10_000;
const MAX_TIME = 20_000;
const PAGE = 200;

/**
 * Applies a verb to every job that matches, page by page in the order of the list. A whole state is left to the store,
 * which changes it in chunks.
 */
export async function applyToAll(
  store: PgStore,
  filter: JobFilter,
  verb: JobVerb,
  accepts: (job: ListedJob) => boolean,
): Promise<Applied> {
  const whole = isWholeState(filter) ? wholeState(store, filter, verb) : undefined;
  if (whole) return { done: await whole, passed: 0, more: false };
  const deadline = performance.now() + MAX_TIME;
  let cursor: Cursor | null = null;
  let done = 0;
  let passed = 0;
  do {
    const page: Awaited<ReturnType<typeof readJobs>> = await readJobs(store.engine.executor, filter, {
      cursor,
      limit: PAGE,
      accepts,
    });
    const ids = page.jobs.map(({ id }) => id);
    const answer = await applyToEach(store, filter.queue, ids, verb);
    done += answer.done;
    passed += answer.passed;
    cursor = page.next;
  } while (cursor && done + passed < MAX_JOBS && performance.now() < deadline);
  return { done, passed, more: cursor !== null };
}

function wholeState(store: PgStore, { queue, state }: JobFilter, verb: JobVerb): Promise<number> | undefined {
  if (verb === 'retry' && state === 'failed') return store.retryJobs(queue, 'failed');
  if (verb === 'promote' && state === 'delayed') return store.promoteJobs(queue);
  // Of active jobs the store removes none that a worker holds.
  if (verb === 'remove' && state !== undefined && state !== 'active') return store.clean(queue, state, 0);
  return undefined;
}

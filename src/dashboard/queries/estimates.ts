import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, literal } from '../../db/tables.js';
import { JOB_STATES, type JobState } from '../../model/job.js';
import { COUNT_CAP, PAGE_TIMEOUT } from './limits.js';
import type { QueueSummary } from './overview.js';

/** A number of jobs: counted, or from the planner's statistics. */
export interface Count {
  readonly value: number;
  /** `least`: so many or more. `about`: an estimate. */
  readonly kind: 'exact' | 'least' | 'about';
}

export type Counts = Readonly<Record<JobState, Count>>;

/** Each state has a partial index, whose number of entries the last analyze has left in the catalog. */
const INDEXES: Readonly<Record<JobState, string>> = {
  waiting: 'conveyor_jobs_waiting_idx',
  'waiting-children': 'conveyor_jobs_waiting_children_idx',
  delayed: 'conveyor_jobs_delayed_idx',
  active: 'conveyor_jobs_active_idx',
  completed: 'conveyor_jobs_completed_idx',
  failed: 'conveyor_jobs_failed_idx',
};

/** The table's oid comes from any one of its rows, so that no name of a schema has to be quoted. */
const selectEstimates = statement(
  'dashboard estimates',
  [],
  (db) => {
    const j = alias(db.jobs, 'j');
    return sql`
      with t as materialized (
        select c.oid, c.relname, n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = (select ${j}.tableoid from ${db.jobs} as ${j} limit 1))
      select ${columns(sql`'index'`, sql`i.relname`, sql`greatest(i.reltuples, 0)`)}
      from t join pg_index x on x.indrelid = t.oid join pg_class i on i.oid = x.indexrelid
      union all
      select 'queue', v.name, v.share::text
      from t join pg_stats s on s.schemaname = t.nspname and s.tablename = t.relname and s.attname = ${literal('queue_name')}
      cross join lateral unnest(s.most_common_vals::text::text[], s.most_common_freqs) as v(name, share)`;
  },
  { repeatable: true },
);

/**
 * The counts of these queues. What was not counted to its end is estimated: the entries of the state's index, times the
 * queue's share of all jobs.
 */
export async function estimate(executor: Executor, queues: readonly QueueSummary[]): Promise<Counts[]> {
  const isCapped = queues.some(({ counts }) => JOB_STATES.some((state) => counts[state] > COUNT_CAP));
  const rows = isCapped ? await executor.run(selectEstimates, {}, { timeout: PAGE_TIMEOUT }) : [];
  const entries = new Map<string, number>();
  const shares = new Map<string, number>();
  for (const [kind, name, value] of rows) {
    (kind === 'index' ? entries : shares).set(name as string, Number(value));
  }
  const countOf = ({ name, counts }: QueueSummary, state: JobState): Count => {
    if (counts[state] <= COUNT_CAP) return { value: counts[state], kind: 'exact' };
    const guess = Math.round((entries.get(INDEXES[state]) ?? 0) * (shares.get(name) ?? 0));
    return guess > COUNT_CAP ? { value: guess, kind: 'about' } : { value: COUNT_CAP, kind: 'least' };
  };
  return queues.map((queue) => Object.fromEntries(JOB_STATES.map((state) => [state, countOf(queue, state)])) as Counts);
}

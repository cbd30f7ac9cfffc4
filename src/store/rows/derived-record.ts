import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Jobs } from '../../db/tables.js';
import { isoTime } from '../../db/time.js';
import type { AttemptRecord, JobData } from '../../model/job.js';

/**
 * The record that is not stored. Most jobs complete at their first attempt and log nothing: what their record would say
 * stands in `processed_at` and `completed_at`, and `attempt_logs` is empty. Whoever reads a job is given the record all
 * the same; whatever resets those columns stores it first.
 */

/**
 * `started_lease` of a claimed job that is made completed by a caller who keeps its records himself: none is derived for
 * it. The next claim makes another lease, which ends this.
 */
export const withoutRecord = (lease: SQLWrapper): SQL => sql`-${lease}`;

/** The records of a job `j` as its reader sees them. */
export function recordsOf(j: Jobs): SQL {
  const record = sql`jsonb_build_object('attempt', ${j.attemptsMade} + 1, 'startedAt', ${isoTime(j.processedAt)},
    'endedAt', ${isoTime(j.completedAt)}, 'status', 'completed', 'error', null, 'stacktrace', null, 'logs', '[]'::jsonb)`;
  return sql`(case when ${j.state} = 'completed' and ${j.attemptLogs} = '[]'::jsonb and ${j.lease} > 0
      and ${j.completedAt} is not null and ${j.startedLease} is distinct from ${withoutRecord(j.lease)}
    then jsonb_build_array(${record}) else ${j.attemptLogs} end)`;
}

/** The same in TypeScript, for a job whose stored list is empty: the record, if one is to be derived. */
export function derivedRecord(job: JobData, lease: number, startedLease: number | null): AttemptRecord[] {
  const { state, completedAt, processedAt, attemptsMade } = job;
  if (state !== 'completed' || !completedAt || lease <= 0 || startedLease === -lease) return [];
  const record: AttemptRecord = {
    attempt: attemptsMade + 1,
    // Null only if somebody changed the column by hand.
    startedAt: (processedAt?.toISOString() ?? null) as string,
    endedAt: completedAt.toISOString(),
    status: 'completed',
    error: null,
    stacktrace: null,
    logs: [],
  };
  return [record];
}

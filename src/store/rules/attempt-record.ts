import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { type Jobs, literal } from '../../db/tables.js';
import { isoTime, now } from '../../db/time.js';

/** Newest attempt records and stack traces that a job keeps: each settlement rewrites them, each claim reads them. */
export const MAX_ATTEMPT_RECORDS = 100;

/** A list with one or more items more, its oldest one dropped at the cap; a column changed by hand starts anew. */
export function appended(list: SQLWrapper, items: SQLWrapper): SQL {
  return sql`((case jsonb_typeof(${list}) when 'array'
    then case when jsonb_array_length(${list}) >= ${literal(MAX_ATTEMPT_RECORDS)} then ${list} - 0 else ${list} end
    else '[]'::jsonb end) || ${items})`;
}

/** A job's stack traces with one more, where there is one: of each failed attempt, its reason if it has no stack. */
export function withStack(list: SQLWrapper, stack: SQLWrapper): SQL {
  return sql`case when ${stack} is null then ${list} else ${appended(list, sql`to_jsonb(${stack})`)} end`;
}

/**
 * The records of a job `j` whose attempt completes. Of one that is the first on record, and has logged nothing, a record
 * would only repeat `processed_at` and `completed_at`: it is not stored, but derived when the job is read
 * (`rows/derived-record.ts`).
 *
 * @param logs null, or a jsonb array
 */
export function withCompletion(j: Jobs, logs: SQLWrapper): SQL {
  const record = attemptRecord({
    attempt: sql`${j.attemptsMade} + 1`,
    startedAt: isoTime(j.processedAt),
    completed: sql`true`,
    error: sql`null::text`,
    stack: sql`null::text`,
    logs,
  });
  return sql`case when ${logs} is null and ${j.attemptLogs} = '[]'::jsonb then ${j.attemptLogs}
    else ${appended(j.attemptLogs, record)} end`;
}

/** The end of an attempt as an `AttemptRecord` has it, computed once per statement. */
export const endedNow: SQL = sql`(select ${isoTime(now)})`;

interface Attempt {
  /** Its number, from 1. */
  readonly attempt: SQLWrapper;
  /** ISO 8601. */
  readonly startedAt: SQLWrapper;
  readonly completed: SQLWrapper;
  readonly error: SQLWrapper;
  readonly stack: SQLWrapper;
  /** A jsonb array. */
  readonly logs: SQLWrapper;
}

/** The `AttemptRecord` of an attempt that ends with the statement. */
export function attemptRecord({ attempt, startedAt, completed, error, stack, logs }: Attempt): SQL {
  return sql`jsonb_build_object('attempt', ${attempt}, 'startedAt', ${startedAt}, 'endedAt', ${endedNow},
    'status', case when ${completed} then 'completed' else 'failed' end,
    'error', case when ${completed} then null else ${error} end,
    'stacktrace', ${stack}, 'logs', coalesce(${logs}, '[]'::jsonb))`;
}

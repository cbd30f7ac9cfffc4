import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { interval, now } from '../../db/time.js';
import type { JobOptions } from '../../model/job.js';

/**
 * How long an ended job is kept, in ms: `true` and 0 delete it in the statement that ends it, a number so many ms
 * later, anything else never (null). In SQL for statements that read the options from the row, in TypeScript for
 * callers that have them.
 */
export function keepMs(opts: SQLWrapper, ended: 'completed' | 'failed' | SQLWrapper): SQL {
  const option =
    typeof ended === 'string'
      ? sql`(${opts} -> ${sql.raw(ended === 'completed' ? "'removeOnComplete'" : "'removeOnFail'")})`
      : sql`(${opts} -> case ${ended} when 'completed' then 'removeOnComplete' else 'removeOnFail' end)`;
  return sql`(case jsonb_typeof(${option}) when 'boolean' then case when ${option} = 'true'::jsonb then 0::float8 end
    when 'number' then greatest(0, (${option})::text::float8) end)`;
}

export function keptFor(opts: JobOptions, ended: 'completed' | 'failed'): number | undefined {
  const option: unknown = ended === 'completed' ? opts.removeOnComplete : opts.removeOnFail;
  if (option === true) return 0;
  return typeof option === 'number' && option >= 0 ? option : undefined;
}

/** Kept for no time at all: the statement deletes the job instead of updating it. */
export const deletedAtOnce = (keep: SQLWrapper): SQL => sql`coalesce(${keep} = 0, false)`;

/** `remove_at` of a job that ends now and is kept so many ms; null: for good. */
export const expiresAt = (keep: SQLWrapper): SQL =>
  sql`case when ${keep} is not null then ${now} + ${interval(keep)} end`;

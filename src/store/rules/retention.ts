import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { type Jobs, literal } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import type { JobOptions, Retention } from '../../model/job.js';

/**
 * How long an ended job is kept, in ms: `true`, 0, and a count of 0 delete it in the statement that ends it, a number or
 * an `age` so many ms later, anything else never (null). In SQL for statements that read the options from the row, in
 * TypeScript for callers that have them. What a count above 0 removes is found by `trim.ts` of `store/remove`.
 */
export function keepMs(opts: SQLWrapper, ended: 'completed' | 'failed' | SQLWrapper): SQL {
  const option =
    typeof ended === 'string'
      ? sql`(${opts} -> ${sql.raw(ended === 'completed' ? "'removeOnComplete'" : "'removeOnFail'")})`
      : sql`(${opts} -> case ${ended} when 'completed' then 'removeOnComplete' else 'removeOnFail' end)`;
  const ms = (value: SQL) => sql`greatest(0, (${value})::text::float8)`;
  const age = sql`${option} -> 'age'`;
  return sql`(case jsonb_typeof(${option}) when 'boolean' then case when ${option} = 'true'::jsonb then 0::float8 end
    when 'number' then ${ms(option)}
    when 'object' then case when ${option} -> 'count' = '0'::jsonb then 0::float8
      when jsonb_typeof(${age}) = 'number' then ${ms(age)} end end)`;
}

export function keptFor(opts: JobOptions, ended: 'completed' | 'failed'): number | undefined {
  const option: unknown = ended === 'completed' ? opts.removeOnComplete : opts.removeOnFail;
  if (option === true) return 0;
  if (typeof option !== 'object' || option === null) return msOf(option);
  const { age, count } = option as Retention;
  return count === 0 ? 0 : msOf(age);
}

/** As in SQL: anything but a number that is not negative counts for nothing. */
const msOf = (value: unknown): number | undefined => (typeof value === 'number' && value >= 0 ? value : undefined);

/** How many ended jobs in this state are kept, of those that row `j` is one of; null: any number. */
export function keptCount(j: Jobs, ended: 'completed' | 'failed'): SQL {
  const count = sql`${j.opts} #> ${literal(ended === 'completed' ? '{removeOnComplete,count}' : '{removeOnFail,count}')}`;
  // Whole numbers only: others cannot be an offset. (Numbers too long for one were not written by `add`.)
  return sql`(case when jsonb_typeof(${count}) = 'number' and (${count})::text ~ '^[0-9]{1,9}$' then (${count})::text::int end)`;
}

/** Kept for no time at all: the statement deletes the job instead of updating it. */
export const deletedAtOnce = (keep: SQLWrapper): SQL => sql`coalesce(${keep} = 0, false)`;

/** `remove_at` of a job that ends now and is kept so many ms; null: for good. */
export const expiresAt = (keep: SQLWrapper): SQL =>
  sql`case when ${keep} is not null then ${now} + ${interval(keep)} end`;

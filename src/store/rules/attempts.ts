import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';

/** How often a job may be attempted, from its options in the row; 1 where a column changed by hand says something else. */
export const attemptsOf = (opts: SQLWrapper): SQL =>
  sql`(case jsonb_typeof(${opts} -> 'attempts') when 'number' then (${opts} ->> 'attempts')::numeric else 1 end)`;

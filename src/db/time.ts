import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';

/** How times cross the driver, and whose clock they come from: the database's. */

/** A duration parameter in ms as an interval. */
export const interval = (ms: SQLWrapper): SQL => sql`(${ms}::float8 * interval '1 millisecond')`;

/** Epoch milliseconds as a time. */
export const instantOf = (ms: SQLWrapper): SQL => sql`to_timestamp(${ms}::float8 / 1000)`;

/**
 * A time as whole epoch milliseconds; null for `infinity`, which only manual changes can have written. By `date_part`,
 * whose double is exact enough and several times as fast as the numeric that `extract` gives.
 */
export const epochMs = (time: SQLWrapper): SQL =>
  sql`case when isfinite(${time}) then (date_part('epoch', ${time}) * 1000)::bigint end`;

/**
 * The database's clock. Not `now()`: that is when the transaction began, and a statement may run in a caller's
 * transaction that has been open for a while.
 */
export const statementTime: SQL = sql`statement_timestamp()`;

/** The same in whole milliseconds: what JavaScript can give back exactly. */
export const now: SQL = sql`date_trunc('milliseconds', ${statementTime})`;

/** As a time stands in attempt records: ISO 8601 with milliseconds. */
export const isoTime = (time: SQLWrapper): SQL =>
  sql`to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

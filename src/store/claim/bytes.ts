import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Jobs } from '../../db/tables.js';
import type { StoredJob } from '../rows/stored-job.js';

/**
 * A claim takes no more jobs once their payloads add up to this: hundreds of large ones would use up the worker's memory
 * before the first has run. The last one may exceed it.
 */
export const MAX_CLAIM_BYTES = 16 * 1024 * 1024;
/** The bytes of job `j`'s payload as jsonb. (The empty path gives all of it, no longer compressed, without its text.) */
export const payloadBytes = (j: Jobs): SQL => sql`pg_column_size(${j.data} #> '{}')`;

/** The sum of `size` over the rows before this one, in an order, is not over the limit. */
export const bytesBefore = (size: SQLWrapper, order?: SQL): SQL =>
  sql`coalesce(sum(${size}) over (${order ?? sql``} rows between unbounded preceding and 1 preceding), 0)`;

export const withinBytes = (before: SQLWrapper): SQL => sql`${before} < ${sql.raw(String(MAX_CLAIM_BYTES))}`;

/** A character of JSON text may be several bytes, and as many in jsonb where it is the digit of a number. */
const MAX_BYTES_PER_CHARACTER = 5;

/** Whether jobs that were claimed together may be fewer than there are because of their size. */
export function mayBeCut(jobs: readonly StoredJob[]): boolean {
  const characters = jobs.reduce((sum, { payloadLength }) => sum + payloadLength, 0);
  return characters >= MAX_CLAIM_BYTES / MAX_BYTES_PER_CHARACTER;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { type Jobs, literal } from '../../db/tables.js';

/** What a claim gives a worker: every write it makes to the job must name both. */
export interface Lease {
  /** The fencing token: each claim of the job increments it. */
  readonly lease: number;
  readonly workerId: string;
}

/** The lease of one job. */
export interface JobLease extends Lease {
  readonly queueName: string;
  readonly id: string;
}

export const LEASE_PARAMS = ['lease', 'worker'] as const;
export type LeaseSlots = Readonly<Record<(typeof LEASE_PARAMS)[number], SQL>>;

export const leaseValues = (lease: Lease | null) => ({
  lease: lease?.lease ?? null,
  worker: lease?.workerId ?? null,
});

/**
 * The fence: job `j` is active under this lease of this worker. The worker counts too, because a claim does not wait
 * for the disk: after a crash of the server another worker may have the same lease number.
 *
 * @param active 'active' as a column of a batch's input: as a literal it invites a plan that reads the whole index of
 * active jobs for each batch
 */
export function heldBy(j: Jobs, lease: SQLWrapper, worker: SQLWrapper, active: SQLWrapper = literal('active')): SQL {
  return sql`${j.lease} = ${lease} and ${j.lockedBy} = ${worker} and ${j.state} = ${active}`;
}

/** Without a lease anybody may; with one only the worker that holds the job under it. */
export function heldIfLeased(j: Jobs, p: LeaseSlots): SQL {
  return sql`(${p.lease} is null or (${heldBy(j, sql`${p.lease}::int`, p.worker)}))`;
}

/** Stalled: active, and its lease ran out, or it never had one. */
export function leaseExpired(j: Jobs): SQL {
  return sql`(${j.lockUntil} is null or ${j.lockUntil} < now())`;
}

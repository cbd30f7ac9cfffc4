import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Lease } from '../../store/rules/lease.js';
import type { CheckedData } from './schemas.js';

/** How an attempt ended, before the rules of retrying are applied. */
export type AttemptEnd =
  | { readonly kind: 'completed'; readonly returnvalue: unknown }
  /** `final`: no other attempt follows, whatever the job's options say. */
  | { readonly kind: 'failed'; readonly error: unknown; readonly final?: boolean }
  /** Put off until `until` (epoch ms), or for `delayMs`; the attempt does not count. */
  | { readonly kind: 'delayed'; readonly until: number; readonly delayMs?: undefined }
  | { readonly kind: 'delayed'; readonly delayMs: number; readonly until?: undefined }
  /** Returned to waiting; the attempt does not count. */
  | { readonly kind: 'released' };

/** One attempt at a job, shared between the worker that runs it and the `Job` that its handler receives. */
export class Attempt {
  /** Every write of the attempt is fenced by it. */
  readonly lease: Lease;
  /** Lines logged during this attempt, for its record. */
  readonly logs: string[] = [];
  /** Aborts on cancellation, timeout and loss of the lease, and when the worker closes by force. */
  readonly controller = new AbortController();
  /** With a schema: what it made of the job's data, which is what the handler gets. */
  checked: CheckedData | undefined;
  /** Set by `moveToDelayed` and `moveToFailed`: it holds whatever the handler returns. */
  decided: AttemptEnd | undefined;
  discarded = false;
  /** Ends the attempt inside a transaction; set by the worker. */
  settleInTransaction: ((transaction: DrizzleLike, end: AttemptEnd) => Promise<void>) | undefined;
  /** The number of the transaction in which the handler has settled the job. */
  settledIn: string | undefined;
  /** Set when the time limit has passed. */
  timedOut: Error | undefined;
  /** The lease is lost: nothing may be written any more. */
  lost = false;
  cancelled = false;
  ended = false;

  constructor(lease: Lease) {
    this.lease = lease;
  }
}

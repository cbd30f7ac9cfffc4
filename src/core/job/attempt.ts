import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Lease } from '../../store/read/find.js';
import type { SettledInTransaction } from '../worker/settle-in-transaction.js';
import type { AttemptEnd } from '../worker/settlement.js';

/** What a handler said about its job's end before it returned. */
export type Verdict =
  | { readonly kind: 'delayed'; readonly until: number }
  | { readonly kind: 'failed'; readonly error: unknown };

/**
 * One attempt at a job, shared between the worker that runs it and the `Job` its handler holds: the fence of every
 * write, and what the handler decided meanwhile.
 */
export class Attempt {
  readonly lease: Lease;
  /** Lines logged during this attempt, for its record. */
  readonly logs: string[] = [];
  /** Aborts on cancellation, timeout, loss of the lease, and when the worker closes by force. */
  readonly controller = new AbortController();
  /** The last word of the handler; it stands whatever the handler returns. */
  verdict: Verdict | undefined;
  discarded = false;
  /** Set by `completeIn` and `failIn`: it counts if the transaction commits. */
  inTransaction: SettledInTransaction | undefined;
  /** How the worker settles inside a transaction; set while the handler runs. */
  settleInTransaction: ((transaction: DrizzleLike, end: AttemptEnd) => Promise<void>) | undefined;
  /** Set when the time limit has passed. */
  timedOut: Error | undefined;
  /** The worker no longer holds the job: nothing may be written any more. */
  lost = false;
  cancelled = false;
  ended = false;

  constructor(fence: Lease) {
    this.lease = fence;
  }
}

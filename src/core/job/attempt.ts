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

/** Ends an attempt inside a transaction of the app. False: the worker does not hold the job any more. */
export type SettleInTransaction = (attempt: Attempt, transaction: DrizzleLike, end: AttemptEnd) => Promise<boolean>;

/** One attempt at a job, shared between the worker that runs it and the `Job` that its handler receives. */
export class Attempt {
  /** Every write of the attempt is fenced by it. */
  readonly lease: Lease;
  readonly settleInTransaction: SettleInTransaction | undefined;
  /** Lines logged during this attempt, for its record; undefined without any. */
  logs: string[] | undefined;
  /** With a schema: what it made of the job's data, which is what the handler gets. */
  checked: CheckedData | undefined;
  /** Set by `moveToDelayed` and `moveToFailed`: it holds whatever the handler returns. */
  decided: AttemptEnd | undefined;
  discarded = false;
  /** The number of the transaction in which the handler has settled the job. */
  settledIn: string | undefined;
  /** Set when the time limit has passed. */
  timedOut: Error | undefined;
  /** The lease is lost: nothing may be written any more. */
  lost = false;
  cancelled = false;
  /** Where the job's row was when it was claimed; undefined once it may have moved. */
  place: string | undefined;
  ended = false;
  /** Why the handler is to stop, once it is. */
  abortReason: Error | undefined;
  #controller: AbortController | undefined;

  constructor(lease: Lease, settleInTransaction?: SettleInTransaction, place?: string) {
    this.lease = lease;
    this.place = place;
    this.settleInTransaction = settleInTransaction;
  }

  /**
   * Aborts on cancellation, timeout and loss of the lease, and when the worker closes by force. Made when it is first
   * asked for: an AbortController takes longer to make than all the rest of an attempt.
   */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.abortReason) this.#controller.abort(this.abortReason);
    }
    return this.#controller.signal;
  }

  /** No effect the second time. */
  abort(reason: Error): void {
    if (this.abortReason) return;
    this.abortReason = reason;
    this.#controller?.abort(reason);
  }
}

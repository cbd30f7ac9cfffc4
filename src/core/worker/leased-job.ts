import type { StoredJob } from '../../store/rows/stored-job.js';
import type { ParentChange } from '../../store/rules/cascade.js';
import type { Settled, Settlement } from '../../store/settle/settle.js';
import type { Attempt, AttemptEnd } from '../job/attempt.js';

/** A job under this worker's lease: prefetched, running, or not settled yet. */
export interface LeasedJob {
  readonly stored: StoredJob;
  readonly attempt: Attempt;
  /** `performance.now()` when the claim or renewal was sent that last confirmed the lease. */
  confirmedAt: number;
  /** Set when its handler is called: the call that it is part of. */
  call: HandlerCall | undefined;
  /** Set when the handler starts: whether nothing else runs in the process. */
  startedAlone: boolean | undefined;
  /** The database knows that the handler has started. */
  startRecorded: boolean;
  /** Set by `completeIn` and `failIn`: it counts if that transaction commits. */
  settledInTransaction: SettledInTransaction | undefined;
}

/** One call of the handler, for one job or a batch. */
export interface HandlerCall {
  readonly jobs: readonly LeasedJob[];
  /** Frees its slot; no effect the second time. */
  free(): void;
}

/** An attempt with what was written for its end, and what the database made of that. */
export interface SettledAttempt {
  readonly end: AttemptEnd;
  readonly settlement: Settlement;
  readonly settled: Settled;
}

/** An attempt that was settled inside a transaction of its handler. */
export interface SettledInTransaction extends SettledAttempt {
  readonly parents: readonly ParentChange[];
  /** The transaction's id. */
  readonly xid: string;
}

/** What `verify()` checks; docs/reliability.md explains each. */
export type InvariantName =
  | 'active-without-lease'
  | 'lease-without-active'
  | 'start-beyond-lease'
  | 'delayed-without-time'
  | 'ended-without-time'
  | 'live-with-removal-time'
  | 'cancelled-but-waiting'
  | 'order-beyond-sequence'
  | 'children-miscounted'
  | 'parent-waits-for-none'
  | 'half-a-parent'
  | 'tick-with-several-jobs'
  | 'tick-past-end'
  | 'rate-limit-log-damaged'
  | 'group-log-damaged'
  | 'metrics-beyond-sequence'
  | 'metrics-impossible';

export interface VerifyOptions {
  /** Most violations of each invariant that are listed. Default 100. */
  limit?: number;
}

/** A row for which an invariant does not hold. */
export interface Violation {
  readonly invariant: InvariantName;
  readonly queueName: string;
  /** A job's id, a schedule's key, a group's id; empty for a queue as a whole. */
  readonly id: string;
  /** The values that contradict each other. */
  readonly detail: string;
}

export interface Failure {
  /** Failed attempts before this one. */
  attemptsMade: number;
  /** Attempts allowed in all. */
  attempts: number;
  /** The handler has ruled out another attempt. */
  discarded: boolean;
  /** Delay before the next attempt, in ms. */
  backoffMs: number;
}

export type FailureOutcome = { kind: 'failed' } | { kind: 'retry'; delayMs: number };

/** Whether a job whose attempt failed has failed, or is retried after `delayMs` (0: at once). */
export function afterFailure({ attemptsMade, attempts, discarded, backoffMs }: Failure): FailureOutcome {
  if (discarded || attemptsMade + 1 >= attempts) return { kind: 'failed' };
  return { kind: 'retry', delayMs: Math.max(0, backoffMs) };
}

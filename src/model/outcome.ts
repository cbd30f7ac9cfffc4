export interface Failure {
  /** Failed attempts before this one. */
  attemptsMade: number;
  /** How often the job is tried in all. */
  attempts: number;
  /** The handler said that there is no point in trying again. */
  discarded: boolean;
  /** The pause before the next attempt, in ms; 0 for none. */
  backoffMs: number;
}

export type FailureOutcome = { kind: 'failed' } | { kind: 'retry'; delayMs: number };

/** What becomes of a job whose attempt failed: the end, or another attempt after `delayMs` (0: at once, `waiting`). */
export function afterFailure({ attemptsMade, attempts, discarded, backoffMs }: Failure): FailureOutcome {
  if (discarded || attemptsMade + 1 >= attempts) return { kind: 'failed' };
  return { kind: 'retry', delayMs: Math.max(0, backoffMs) };
}

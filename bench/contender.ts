import type { Sql } from 'postgres';

/** A job queue under test, or the floor. Each runs in its own process and database. */
export interface Contender {
  readonly name: string;
  /** Opens connections and makes tables. */
  open(url: string): Promise<void>;
  addBulk(payloads: readonly Payload[], options?: AddOptions): Promise<void>;
  addOne(payload: Payload): Promise<void>;
  /** Runs a no-op handler until `count` jobs are settled; `group`: two at once of each group. */
  process(count: number, options: { concurrency: number; group?: boolean }): Promise<void>;
  /** Starts a worker on an empty queue; `onStart` is called when its handler starts. */
  startIdle(onStart: (payload: Payload) => void): Promise<void>;
  /** Starts a worker that runs until `close`. */
  startMany?(concurrency: number, onStart: () => void): Promise<void>;
  /** Number of unfinished jobs; any positive number will do while there are some. */
  unfinished?(sql: Sql): Promise<number>;
  /** Counts the completion events received, from any process. */
  countCompleted?(): Promise<() => number>;
  /** SQL that inserts a million completed jobs, and a million waiting ones behind those of the bench. */
  history?: { readonly completed: string; readonly waiting: string };
  close(): Promise<void>;
}

export interface AddOptions {
  /** The job is deleted when it has completed. */
  readonly remove?: boolean;
  /** Group id of job number `n`. */
  readonly groupOf?: (n: number) => string;
}

export interface Payload {
  readonly n: number;
  readonly user: string;
  readonly email: string;
  readonly tags: readonly string[];
  readonly note: string;
}

/** About 170 bytes of JSON. */
export function payload(n: number): Payload {
  return {
    n,
    user: `user-${n % 1000}`,
    email: `user-${n % 1000}@example.com`,
    tags: ['welcome', 'onboarding'],
    note: 'The quick brown fox jumps over the lazy dog and comes back.',
  };
}

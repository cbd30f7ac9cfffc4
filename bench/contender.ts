import type { Sql } from 'postgres';

/** What every contender can do; each runs in a process and a database of its own. */
export interface Contender {
  readonly name: string;
  /** Opens connections and makes tables. */
  open(url: string): Promise<void>;
  addBulk(payloads: readonly Payload[], options?: AddOptions): Promise<void>;
  addOne(payload: Payload): Promise<void>;
  /** Runs a no-op handler until `count` jobs are settled; `group`: two at once of each group. */
  process(count: number, options: { concurrency: number; group?: boolean }): Promise<void>;
  /** An idle worker that calls back as soon as its handler starts. */
  startIdle(onStart: (payload: Payload) => void): Promise<void>;
  /** A worker that goes on until it is closed. */
  startMany?(concurrency: number, onStart: () => void): Promise<void>;
  /** Jobs that have not ended; at most a few are counted. */
  unfinished?(sql: Sql): Promise<number>;
  /** Counts the jobs that are said to have completed, whoever ran them. */
  countCompleted?(): Promise<() => number>;
  /** Rows that were there before, by SQL: of what is settled and of what waits. */
  history?: { readonly completed: string; readonly waiting: string };
  close(): Promise<void>;
}

export interface AddOptions {
  /** The job is deleted when it has completed. */
  readonly remove?: boolean;
  /** Of a job, by its number. */
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

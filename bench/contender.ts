/** What every contender can do; each runs in a process and a database of its own. */
export interface Contender {
  readonly name: string;
  /** Opens connections and makes tables. */
  open(url: string): Promise<void>;
  addBulk(payloads: readonly Payload[]): Promise<void>;
  addOne(payload: Payload): Promise<void>;
  /** Runs a no-op handler until `count` jobs are settled. */
  process(count: number, options: { concurrency: number }): Promise<void>;
  /** An idle worker that calls back as soon as its handler starts. */
  startIdle(onStart: (payload: Payload) => void): Promise<void>;
  close(): Promise<void>;
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

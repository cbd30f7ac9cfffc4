/** A job queue under test, or the floor. Each instance lives in a process of its own. */
export interface Contender {
  /** Connects and makes tables, if there are none yet. */
  open(address: Address): Promise<void>;
  addBulk(payloads: readonly Payload[], options?: AddOptions): Promise<void>;
  addOne(payload: Payload): Promise<void>;
  /** Starts a worker that runs until the process ends; `handler` is called when a job starts. */
  work(handler: (payload: Payload) => void, options: WorkOptions): Promise<void>;
  /** Whether a job is waiting or active. */
  unfinished(): Promise<boolean>;
  /** Counts the completion events received, from any process. */
  countCompleted?(): Promise<() => number>;
  /** SQL that inserts jobs like those of the bench: `$count` waiting or completed ones. */
  readonly fill?: { readonly waiting: string; readonly completed?: string };
}

export interface Address {
  /** A Postgres URL. */
  readonly postgres: string;
  /** Port of a Redis on this machine; 0 if there is none. */
  readonly redis: number;
  /** Whether `addOne` has to wake an idle worker: the floor has no other reason to notify. */
  readonly wakes: boolean;
}

export interface AddOptions {
  /** The job is deleted when it has completed. */
  readonly remove?: boolean;
  /** Group id of job number `n`. */
  readonly groupOf?: (n: number) => string;
}

export interface WorkOptions {
  /** `latency`: one job at a time, as soon as it is there. `throughput`: as many as possible. */
  readonly purpose: 'throughput' | 'latency';
  /** Jobs at once. Default: the setting that its documentation recommends for throughput. */
  readonly concurrency?: number | undefined;
  /** At most two jobs at once of each group. */
  readonly groups?: boolean | undefined;
}

export interface Payload {
  readonly n: number;
  readonly user?: string;
  readonly email?: string;
  readonly tags?: readonly string[];
  readonly note: string;
}

/** About 170 bytes of JSON, or `bytes`. */
export function payload(n: number, bytes?: number): Payload {
  if (bytes !== undefined) {
    const overhead = JSON.stringify({ n, note: '' }).length;
    return { n, note: 'The quick brown fox '.repeat(Math.ceil(bytes / 20)).slice(0, Math.max(0, bytes - overhead)) };
  }
  return {
    n,
    user: `user-${n % 1000}`,
    email: `user-${n % 1000}@example.com`,
    tags: ['welcome', 'onboarding'],
    note: 'The quick brown fox jumps over the lazy dog and comes back.',
  };
}

/** The payload of jobs that SQL inserts: `i` is the number of the row. */
export const SQL_PAYLOAD = `jsonb_build_object('n', i, 'user', 'user-' || i % 1000,
  'email', 'user-' || i % 1000 || '@example.com', 'tags', jsonb_build_array('welcome', 'onboarding'),
  'note', 'The quick brown fox jumps over the lazy dog and comes back.')`;

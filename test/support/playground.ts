import { randomBytes } from 'node:crypto';
import { afterAll, afterEach } from 'vitest';
import {
  type Job,
  type JobOf,
  type Logger,
  PgStore,
  type PgStoreOptions,
  Queue,
  type QueueOptions,
  Worker,
  type WorkerOptions,
} from '../../src/index.js';
import { type UsedDatabase, useDatabase } from './database.js';
import { until } from './until.js';

/** What a store or worker has logged. */
export interface Said {
  readonly logger: Logger;
  readonly lines: { level: keyof Logger; message: string; args: unknown[] }[];
}

export function recordingLogger(): Said {
  const lines: Said['lines'] = [];
  const at =
    (level: keyof Logger) =>
    (message: string, ...args: unknown[]) =>
      void lines.push({ level, message, args });
  return { lines, logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } };
}

export type AnyWorker = Worker<unknown>;
type OwnWorkerOptions = Omit<WorkerOptions, 'store'> & { store?: PgStore };

export interface Playground {
  readonly database: UsedDatabase;
  /** What the stores of the running test have logged. */
  readonly said: Said['lines'];
  /** Those that the running test has opened. */
  readonly stores: readonly PgStore[];
  /** Another connected store, as in another process. */
  open(options?: Partial<PgStoreOptions>): Promise<PgStore>;
  /** The same until the end of the file; for `beforeAll`. */
  openForAll(options?: Partial<PgStoreOptions>): Promise<PgStore>;
  /** A queue of a name of its own, unless one is given. */
  queue<T = unknown>(store: PgStore, options?: Omit<QueueOptions, 'store'>, name?: string): Queue<T>;
  worker(
    queue: { readonly name: string },
    store: PgStore,
    run: (job: JobOf<unknown>, signal: AbortSignal) => unknown,
    options?: OwnWorkerOptions & { batch?: never },
  ): AnyWorker;
}

let names = 0;
export const newName = () => `q${++names}-${randomBytes(3).toString('hex')}`;

/** A database for the file; stores and workers for each test, closed after it. */
export function usePlayground(): Playground {
  const database = useDatabase();
  const closing: (() => Promise<unknown>)[] = [];
  const stores: PgStore[] = [];
  const said: Said = recordingLogger();
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    said.lines.length = 0;
    stores.length = 0;
  });
  const closingAll: typeof closing = [];
  afterAll(async () => {
    for (const close of closingAll.reverse()) await close();
  });
  const open = async (options: Partial<PgStoreOptions>, closers: typeof closing) => {
    const store = new PgStore({ connection: database.url, autoMigrate: false, logger: said.logger, ...options });
    closers.push(() => store.disconnect());
    await store.connect();
    stores.push(store);
    return store;
  };
  return {
    database,
    said: said.lines,
    stores,
    open: (options = {}) => open(options, closing),
    openForAll: (options = {}) => open(options, closingAll),
    queue: (store, options = {}, name = newName()) => new Queue(name, { store, ...options }),
    worker(queue, store, run, options = {}) {
      const worker = new Worker(queue.name, run, { store, ...options });
      closing.push(() => worker.close(0));
      return worker;
    },
  };
}

export interface Recorded {
  active: string[];
  completed: { id: string; result: unknown }[];
  failed: { id: string; error: Error; state: string }[];
  retrying: { id: string; error: Error; state: string; attemptsMade: number; delay: number }[];
  stalled: string[];
  cancelled: string[];
  errors: Error[];
}

/** All events of a worker from now on. */
export function record(worker: AnyWorker): Recorded {
  const heard: Recorded = {
    ...{ active: [], completed: [], failed: [], retrying: [], stalled: [], cancelled: [], errors: [] },
  };
  worker.on('active', (job) => void heard.active.push(job.id));
  worker.on('completed', ({ job, result }) => void heard.completed.push({ id: job.id, result }));
  worker.on('failed', ({ job, error }) => void heard.failed.push({ id: job.id, error, state: job.state }));
  worker.on('retrying', ({ job, ...event }) => void heard.retrying.push({ id: job.id, state: job.state, ...event }));
  worker.on('stalled', (id) => void heard.stalled.push(id));
  worker.on('cancelled', (job) => void heard.cancelled.push(job.id));
  worker.on('error', (error) => void heard.errors.push(error));
  return heard;
}

/** The job's row as the database has it. */
export async function rowOf(
  { database }: Playground,
  { id, queueName }: Pick<Job, 'id' | 'queueName'>,
): Promise<Record<string, unknown> | undefined> {
  const [row] = await database.sql`select * from conveyor_jobs where queue_name = ${queueName} and id = ${id}`;
  return row;
}

/** Resolves when the leases of all active jobs of the queue end more than `ms` later than any of them does now. */
export async function untilRenewed({ database }: Playground, queueName: string, ms: number): Promise<void> {
  const ends = async () => {
    const [row] = await database.sql<{ first: Date | null; last: Date | null }[]>`
      select min(lock_until) as first, max(lock_until) as last from conveyor_jobs
      where queue_name = ${queueName} and state = 'active'`;
    return { first: Number(row?.first), last: Number(row?.last) };
  };
  const { last } = await ends();
  await until(async () => (await ends()).first > last + ms, { what: `leases to be renewed for ${ms} ms` });
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import type { StoreEvent } from '../../model/event.js';
import type { JobState } from '../../model/job.js';
import { Batcher } from '../../store/runtime/batcher.js';
import type { Engine } from '../../store/runtime/engine.js';
import { RecentEnds } from './recent-ends.js';

/** How far a job has got, as far as somebody who waits for its end wants to know. */
export interface JobStatus {
  /** `missing`: there is no such job (any more). */
  readonly state: JobState | 'missing';
  readonly result: unknown;
  readonly reason: string | null;
  readonly cancelled: boolean;
  readonly progress: number;
}

const selectStandings = statement(
  'standings',
  ['jobs'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${columns(sql`k.q`, sql`k.id`, j.state, j.returnvalue, j.failedReason, epochMs(j.cancelledAt), j.progress)}
      from jsonb_to_recordset(${p.jobs}::jsonb) as k(q text, id text)
      join ${db.jobs} as ${j} on ${j.queueName} = k.q and ${j.id} = k.id`;
  },
  { repeatable: true },
);

interface Key {
  readonly queueName: string;
  readonly id: string;
}

const keyOf = ({ queueName, id }: Key) => `${queueName}\n${id}`;
const MISSING: JobStatus = { state: 'missing', result: undefined, reason: null, cancelled: false, progress: 0 };

async function readStandings(executor: Executor, keys: readonly Key[]): Promise<JobStatus[]> {
  const json = JSON.stringify(keys.map(({ queueName, id }) => ({ q: queueName, id })));
  const rows = await executor.run(selectStandings, { jobs: json });
  const found = new Map<string, JobStatus>();
  for (const [q, id, state, result, reason, cancelled, progress] of rows as (string | null)[][]) {
    found.set(`${q}\n${id}`, {
      state: state as JobState,
      result: result == null ? null : JSON.parse(result),
      reason: reason ?? null,
      cancelled: cancelled != null,
      progress: Number(progress),
    });
  }
  return keys.map((key) => found.get(keyOf(key)) ?? MISSING);
}

/** Told of each event of one job, and of its standing whenever the tables were read. */
export interface Observer {
  event(event: StoreEvent): void;
  standing(standing: JobStatus): void;
  /** The store was disconnected. */
  closed(): void;
}

/** A notification may be lost: everybody who waits is asked for in one statement, this often. */
const REREAD_MS = 1_000;
/** Whoever waits for one job often waits for the next: the queue's events keep coming for so long. */
const LINGER_MS = 10_000;

/** The news of a job's end comes after its row is gone: so long it is waited for. */
const NEWS_MS = 250;

interface Entry {
  readonly key: Key;
  readonly observers: Set<Observer>;
  reading: boolean;
  /** `performance.now()` when the row was first found to be gone. */
  missingSince: number | undefined;
}

interface Followed {
  count: number;
  stop(): void;
  lingering: NodeJS.Timeout | undefined;
}

/**
 * Follows jobs to their end for everybody in a process: by events, and by reading the tables after LISTEN was away and
 * from time to time, all jobs of all waiters in one statement.
 */
export class CompletionTracker {
  readonly #engine: Engine;
  readonly #entries = new Map<string, Entry>();
  readonly #queues = new Map<string, Followed>();
  readonly #recent = new RecentEnds();
  readonly #reads: Batcher<Key, JobStatus>;
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#reads = new Batcher((keys) => readStandings(engine.executor, keys), {
      maxItems: 1_000,
      maxSize: 1_000,
      parallel: 1,
    });
    // Both for as long as the store lives, which is as long as this does.
    engine.onReconnect(() => this.#rereadAll());
    engine.onClose(() => this.#close());
  }

  /** The job's standing now. */
  read(queueName: string, id: string): Promise<JobStatus> {
    return this.#reads.push({ queueName, id });
  }

  /** Observes until the returned function is called. */
  observe(queueName: string, id: string, observer: Observer): () => void {
    const key = { queueName, id };
    const k = keyOf(key);
    const entry = this.#entries.get(k) ?? newEntry(key);
    this.#entries.set(k, entry);
    entry.observers.add(observer);
    this.#follow(queueName);
    this.#reread(entry);
    // Not unref'd: who waits for a job does not want the process to end meanwhile, also while the database is away.
    this.#timer ??= setInterval(() => this.#rereadAll(), REREAD_MS);
    let active = true;
    return () => {
      if (!active) return;
      active = false;
      entry.observers.delete(observer);
      if (entry.observers.size === 0 && this.#entries.get(k) === entry) this.#entries.delete(k);
      if (this.#entries.size === 0) this.#stopTimer();
      this.#unfollow(queueName);
    };
  }

  #follow(queueName: string): void {
    const followed = this.#queues.get(queueName);
    if (followed) {
      followed.count++;
      clearTimeout(followed.lingering);
      return;
    }
    const stop = this.#engine.notifier.on(queueName, (event) => {
      if (event.jobId === undefined) return;
      const k = keyOf({ queueName, id: event.jobId });
      this.#recent.note(k, event);
      const entry = this.#entries.get(k);
      if (entry) for (const observer of [...entry.observers]) observer.event(event);
    });
    this.#queues.set(queueName, { count: 1, stop, lingering: undefined });
  }

  #unfollow(queueName: string): void {
    const followed = this.#queues.get(queueName);
    if (!followed || --followed.count > 0) return;
    followed.lingering = setTimeout(() => {
      followed.stop();
      this.#queues.delete(queueName);
    }, LINGER_MS);
    followed.lingering.unref();
  }

  #rereadAll(): void {
    for (const entry of this.#entries.values()) this.#reread(entry);
  }

  #reread(entry: Entry): void {
    // One question at a time for each: while the database is away they must not pile up.
    if (entry.reading || entry.observers.size === 0) return;
    entry.reading = true;
    this.#reads
      .push(entry.key)
      .then(
        (standing) => this.#found(entry, standing),
        // The next round asks again.
        (error) => this.#engine.options.logger.debug('conveyor: could not read the standing of a job', error),
      )
      .finally(() => {
        entry.reading = false;
      });
  }

  #found(entry: Entry, standing: JobStatus): void {
    const end = standing.state === 'missing' ? this.#recent.get(keyOf(entry.key)) : undefined;
    if (standing.state === 'missing' && !end) {
      entry.missingSince ??= performance.now();
      if (performance.now() < entry.missingSince + NEWS_MS) {
        setTimeout(() => this.#reread(entry), NEWS_MS);
        return;
      }
    }
    for (const observer of [...entry.observers]) {
      if (end) observer.event(end);
      else observer.standing(standing);
    }
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #close(): void {
    this.#stopTimer();
    for (const { stop, lingering } of this.#queues.values()) {
      clearTimeout(lingering);
      stop();
    }
    this.#queues.clear();
    this.#recent.clear();
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { observers } of entries) for (const observer of [...observers]) observer.closed();
  }
}

const newEntry = (key: Key): Entry => ({ key, observers: new Set(), reading: false, missingSince: undefined });

const registry = new WeakMap<Engine, CompletionTracker>();

/** One per store. */
export function outcomesOf(engine: Engine): CompletionTracker {
  let outcomes = registry.get(engine);
  if (!outcomes) {
    outcomes = new CompletionTracker(engine);
    registry.set(engine, outcomes);
  }
  return outcomes;
}

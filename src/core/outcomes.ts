import { sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import { columns, epochMs, statement } from '../db/statement.js';
import type { StoreEvent } from '../model/event.js';
import type { JobState } from '../model/job.js';
import { Batcher } from '../store/batcher.js';
import type { Engine } from '../store/engine.js';

/** How far a job has got, as far as somebody who waits for its end wants to know. */
export interface Standing {
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
    const j = db.jobs.of('j');
    return sql`select ${columns(sql`k.q`, sql`k.id`, j.state, j.returnvalue, j.failedReason, epochMs(j.cancelledAt), j.progress)}
      from jsonb_to_recordset(${p.jobs}::jsonb) as k(q text, id text)
      join ${db.jobs.as('j')} on ${j.queueName} = k.q and ${j.id} = k.id`;
  },
  { repeatable: true },
);

interface Key {
  readonly queueName: string;
  readonly id: string;
}

const keyOf = ({ queueName, id }: Key) => `${queueName}\n${id}`;
const MISSING: Standing = { state: 'missing', result: undefined, reason: null, cancelled: false, progress: 0 };

async function readStandings(executor: Executor, keys: readonly Key[]): Promise<Standing[]> {
  const json = JSON.stringify(keys.map(({ queueName, id }) => ({ q: queueName, id })));
  const rows = await executor.run(selectStandings, { jobs: json });
  const found = new Map<string, Standing>();
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
  standing(standing: Standing): void;
}

/** A notification may be lost: everybody who waits is asked for in one statement, this often. */
const REREAD_MS = 1_000;

/**
 * Follows jobs to their end for everybody in a process: by events, and by reading the tables after LISTEN was away and
 * from time to time, all jobs of all waiters in one statement.
 */
export class Outcomes {
  readonly #engine: Engine;
  readonly #observers = new Map<string, { key: Key; observers: Set<Observer> }>();
  readonly #queues = new Map<string, { count: number; stop: () => void }>();
  readonly #reads: Batcher<Key, Standing>;
  #timer: NodeJS.Timeout | undefined;
  #stopReconnect: (() => void) | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#reads = new Batcher((keys) => readStandings(engine.executor, keys), {
      maxItems: 1_000,
      maxSize: 1_000,
      parallel: 1,
    });
  }

  /** The job's standing now. */
  read(queueName: string, id: string): Promise<Standing> {
    return this.#reads.push({ queueName, id });
  }

  /** Observes until the returned function is called. */
  observe(queueName: string, id: string, observer: Observer): () => void {
    const key = { queueName, id };
    const k = keyOf(key);
    const entry = this.#observers.get(k) ?? { key, observers: new Set() };
    this.#observers.set(k, entry);
    entry.observers.add(observer);
    this.#follow(queueName);
    this.#reread(entry);
    let active = true;
    return () => {
      if (!active) return;
      active = false;
      entry.observers.delete(observer);
      if (entry.observers.size === 0) this.#observers.delete(k);
      this.#unfollow(queueName);
    };
  }

  #follow(queueName: string): void {
    const followed = this.#queues.get(queueName);
    if (followed) {
      followed.count++;
      return;
    }
    const callback = (event: StoreEvent) => {
      if (event.jobId === undefined) return;
      const entry = this.#observers.get(keyOf({ queueName, id: event.jobId }));
      if (entry) for (const observer of [...entry.observers]) observer.event(event);
    };
    this.#queues.set(queueName, { count: 1, stop: this.#engine.hub.follow(queueName, callback) });
    if (this.#queues.size === 1) this.#start();
  }

  #unfollow(queueName: string): void {
    const followed = this.#queues.get(queueName);
    if (!followed || --followed.count > 0) return;
    followed.stop();
    this.#queues.delete(queueName);
    if (this.#queues.size > 0) return;
    clearInterval(this.#timer);
    this.#stopReconnect?.();
    this.#stopReconnect = undefined;
  }

  #start(): void {
    this.#timer = setInterval(() => this.#rereadAll(), REREAD_MS);
    this.#timer.unref();
    this.#stopReconnect = this.#engine.onReconnect(() => this.#rereadAll());
  }

  #rereadAll(): void {
    for (const entry of this.#observers.values()) this.#reread(entry);
  }

  #reread({ key, observers }: { key: Key; observers: Set<Observer> }): void {
    this.#reads.push(key).then(
      (standing) => {
        for (const observer of [...observers]) observer.standing(standing);
      },
      // The next round asks again.
      (error) => this.#engine.options.logger.debug('conveyor: could not read the standing of a job', error),
    );
  }
}

const registry = new WeakMap<Engine, Outcomes>();

/** One per store. */
export function outcomesOf(engine: Engine): Outcomes {
  let outcomes = registry.get(engine);
  if (!outcomes) {
    outcomes = new Outcomes(engine);
    registry.set(engine, outcomes);
  }
  return outcomes;
}

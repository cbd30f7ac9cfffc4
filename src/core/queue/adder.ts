import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Executor } from '../../db/executor.js';
import type { ResolvedJobOptions } from '../../model/options/job-options.js';
import { reviveDates } from '../../model/options/repeat-options.js';
import { insertBatch, type Saved } from '../../store/add/insert.js';
import { insertIntoGroup } from '../../store/add/insert-into-group.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { getJobs } from '../../store/read/find.js';
import type { StoredJob } from '../../store/rows/stored-job.js';
import type { Engine } from '../../store/runtime/engine.js';
import { databaseTime, type Registered, registerSchedule } from '../../store/schedules/list.js';
import { Job } from '../job/job.js';
import { checkedBy, type JobSchemas } from '../job/schemas.js';
import { Announcement } from './announcement.js';
import {
  checkedData,
  type IdentifiedJob,
  type Prepared,
  type PrepareRules,
  prepare,
  prepareRepeating,
} from './prepare.js';

/** Jobs and bytes of one statement of `addBulk`. */
const CHUNK = 1_000;
const CHUNK_BYTES = 8 * 1024 * 1024;

/** Checks and saves jobs, at once or inside a caller's transaction. */
export class Adder {
  readonly #store: PgStore;
  readonly #schemas: JobSchemas | undefined;
  readonly #created: ((job: Job) => void) | undefined;
  readonly #transaction: Executor | undefined;

  /** @param created called with each job that was really added */
  constructor(
    store: PgStore,
    schemas: JobSchemas | undefined,
    created?: (job: Job) => void,
    transaction?: DrizzleLike,
  ) {
    this.#store = store;
    this.#schemas = schemas;
    this.#created = created;
    this.#transaction = transaction && store.engine.within(transaction);
  }

  get #engine(): Engine {
    return this.#store.engine;
  }

  get #executor(): Executor {
    return this.#transaction ?? this.#engine.executor;
  }

  async add<J>(queueName: string, name: string, data: unknown, opts: ResolvedJobOptions): Promise<J> {
    const prepared = this.#prepare(queueName, name, data, opts);
    return (await this.#save(prepared instanceof Promise ? await prepared : prepared)) as J;
  }

  async addBulk<J>(
    queueName: string,
    jobs: readonly { name: string; data: unknown; opts: ResolvedJobOptions }[],
  ): Promise<J[]> {
    const all: Prepared[] = [];
    for (const { name, data, opts } of jobs) {
      const prepared = this.#prepare(queueName, name, data, opts);
      all.push(prepared instanceof Promise ? await prepared : prepared);
    }
    const special = all.filter(isSpecial);
    const batched: Job[] = [];
    for (const chunk of chunks(special.length === 0 ? all : all.filter((one) => !isSpecial(one)))) {
      const saved = await insertBatch(this.#executor, chunk.map(recordOf));
      for (const job of await this.#saved(chunk, saved)) batched.push(job);
    }
    if (special.length === 0) return batched as J[];
    const alone = new Map<Prepared, Job>();
    for (const prepared of special) alone.set(prepared, await this.#save(prepared));
    let next = 0;
    return all.map((prepared) => alone.get(prepared) ?? batched[next++]) as J[];
  }

  /** A promise only where something is to be waited for: a turn of the microtasks per job is a tenth of `addBulk`. */
  #prepare(queueName: string, name: string, data: unknown, opts: ResolvedJobOptions): Prepared | Promise<Prepared> {
    const { maxPayloadBytes } = this.#engine.options;
    if (this.#schemas === undefined && !opts.options.repeat) {
      return prepare(queueName, name, data, opts, maxPayloadBytes);
    }
    return this.#prepareChecked(queueName, name, data, opts, { schemas: this.#schemas, maxPayloadBytes });
  }

  async #prepareChecked(
    queueName: string,
    name: string,
    data: unknown,
    opts: ResolvedJobOptions,
    rules: PrepareRules,
  ): Promise<Prepared> {
    if (opts.options.repeat) {
      return prepareRepeating(queueName, name, data, opts, rules, () => databaseTime(this.#executor));
    }
    const checked = await checkedData(queueName, name, data, rules);
    return prepare(queueName, name, checked, opts, rules.maxPayloadBytes);
  }

  async #save(prepared: Prepared): Promise<Job> {
    const [job] = await this.#saved([prepared], [await this.#insert(prepared)]);
    return job as Job;
  }

  #insert({ job, record, registration }: Prepared): Promise<Saved> {
    const { group } = job.opts;
    if (registration) return registerSchedule(this.#executor, registration, record);
    if (group?.maxSize !== undefined) return insertIntoGroup(this.#executor, record, group.id, group.maxSize);
    if (this.#transaction) return insertBatch(this.#transaction, [record]).then(([saved]) => saved as Saved);
    this.#engine.assertConnected();
    const { adds, contestedAdds } = this.#engine;
    return (record.fresh ? adds : contestedAdds).push(record, record.bytes);
  }

  async #saved(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<Job[]> {
    const announced = this.#announce(prepared, saved);
    if (announced) await announced;
    const existing = saved.filter(({ created }) => !created);
    // Before their ids are replaced by those of the existing ones.
    const added = existing.length === 0 ? undefined : prepared.map(({ job }, i) => isNew(job, saved[i] as Saved));
    const found = existing.length === 0 ? undefined : await this.#read(prepared, existing);
    const jobs = prepared.map((one, i) => this.#asJob(one, saved[i] as Saved, found));
    if (this.#created) for (const [i, job] of jobs.entries()) if (added?.[i] ?? true) this.#created(job);
    return jobs;
  }

  /** Announces the new jobs; of those added in a transaction Postgres does so after the commit. */
  #announce(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<void> | undefined {
    const announcement = new Announcement();
    for (let i = 0; i < prepared.length; i++) {
      const { job, delayMs, registration } = prepared[i] as Prepared;
      const one = saved[i] as Saved & Partial<Registered>;
      if (one.withdrawn) for (const id of one.withdrawn) announcement.removed(job.queueName, id);
      const state = isNew(job, one) ? stateOf(job, one) : one.adopted;
      // The next tick of a new schedule is computed when this one has passed.
      if (state) announcement.add(job.queueName, one.id, state, state === 'delayed' || registration ? delayMs : null);
    }
    const { notifier } = this.#engine;
    if (this.#transaction) return announcement.sendIn(notifier, this.#transaction);
    announcement.send(notifier);
    return undefined;
  }

  #read(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<Map<string, StoredJob>> {
    const ids = saved.map(({ id }) => id);
    return getJobs(this.#executor, prepared[0]?.job.queueName ?? '', ids);
  }

  /** The new job, or the existing one in its place, unless that was removed meanwhile. */
  #asJob({ job, record }: Prepared, saved: Saved, found: Map<string, StoredJob> | undefined): Job {
    const { id, created, delayUntil, createdAt } = saved;
    const existing = created ? undefined : found?.get(id)?.job;
    const checked = checkedBy(this.#schemas, job.name);
    if (existing) return new Job(existing, this.#store, undefined, checked);
    job.id = id;
    if (created) job.state = stateOf(job, saved);
    // By the database's clock.
    if (delayUntil) job.delayUntil = delayUntil;
    if (createdAt) job.createdAt = createdAt;
    reviveDates(job.opts);
    return new Job(job, this.#store, undefined, checked).addedAs(record);
  }
}

/** True also when the insert was sent again and found its own row: no other job can have an id made here. */
const isNew = (job: IdentifiedJob, { created, id }: Saved) =>
  created || (id === job.id && job.opts.jobId === undefined);

/** The first job of a schedule may have to wait for earlier ones. */
const stateOf = ({ state, opts }: IdentifiedJob, { delayUntil }: Saved) =>
  opts.repeat && delayUntil ? 'delayed' : state;

/** Saved by a statement of its own. */
const isSpecial = ({ job, registration }: Prepared) =>
  registration !== undefined || job.opts.group?.maxSize !== undefined;

const recordOf = ({ record }: Prepared) => record;

function* chunks(items: readonly Prepared[]): Generator<readonly Prepared[]> {
  let first = 0;
  let bytes = 0;
  for (let i = 0; i < items.length; i++) {
    const size = (items[i] as Prepared).record.bytes;
    if (i > first && (i - first >= CHUNK || bytes + size > CHUNK_BYTES)) {
      yield items.slice(first, i);
      first = i;
      bytes = 0;
    }
    bytes += size;
  }
  if (first < items.length) yield first === 0 ? items : items.slice(first);
}

import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Executor } from '../../db/executor.js';
import type { ResolvedJobOptions } from '../../model/options/job-options.js';
import { reviveDates } from '../../model/options/repeat-options.js';
import { insertBatch, type Saved } from '../../store/add/insert.js';
import { insertIntoGroup } from '../../store/add/insert-into-group.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { getJobs } from '../../store/read/find.js';
import type { Engine } from '../../store/runtime/engine.js';
import { databaseTime, type Registered, registerSchedule } from '../../store/schedules/list.js';
import { Job } from '../job/job.js';
import { checkedBy, type JobSchemas } from '../job/schemas.js';
import { Announcement } from './announcement.js';
import { type IdentifiedJob, type Prepared, prepare, prepareRepeating } from './prepare.js';

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
    return (await this.#save(await this.#prepare(queueName, name, data, opts))) as J;
  }

  async addBulk<J>(
    queueName: string,
    jobs: readonly { name: string; data: unknown; opts: ResolvedJobOptions }[],
  ): Promise<J[]> {
    const added: Job[] = new Array(jobs.length);
    const plain: Indexed[] = [];
    const special: Indexed[] = [];
    for (const [index, { name, data, opts }] of jobs.entries()) {
      const prepared = await this.#prepare(queueName, name, data, opts);
      (isSpecial(prepared) ? special : plain).push({ index, prepared });
    }
    for (const chunk of chunks(plain)) {
      const all = chunk.map(({ prepared }) => prepared);
      const ofChunk = await this.#saved(all, await insertBatch(this.#executor, all.map(recordOf)));
      for (const [i, { index }] of chunk.entries()) added[index] = ofChunk[i] as Job;
    }
    for (const { index, prepared } of special) added[index] = await this.#save(prepared);
    return added as J[];
  }

  #prepare(queueName: string, name: string, data: unknown, opts: ResolvedJobOptions): Promise<Prepared> {
    const rules = { schemas: this.#schemas, maxPayloadBytes: this.#engine.options.maxPayloadBytes };
    if (!opts.options.repeat) return prepare(queueName, name, data, opts, rules);
    return prepareRepeating(queueName, name, data, opts, rules, () => databaseTime(this.#executor));
  }

  async #save(prepared: Prepared): Promise<Job> {
    const [job] = await this.#saved([prepared], [await this.#insert(prepared)]);
    return job as Job;
  }

  async #insert({ job, record, registration }: Prepared): Promise<Saved> {
    const { group } = job.opts;
    if (registration) return registerSchedule(this.#executor, registration, record);
    if (group?.maxSize !== undefined) return insertIntoGroup(this.#executor, record, group.id, group.maxSize);
    if (this.#transaction) return (await insertBatch(this.#transaction, [record]))[0] as Saved;
    this.#engine.assertConnected();
    const { adds, contestedAdds } = this.#engine;
    return (record.fresh ? adds : contestedAdds).push(record, record.bytes);
  }

  async #saved(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<Job[]> {
    await this.#announce(prepared, saved);
    const added = prepared.map(({ job }, i) => isNew(job, saved[i] as Saved));
    const jobs = await this.#asJobs(prepared, saved);
    for (const [i, job] of jobs.entries()) if (added[i]) this.#created?.(job);
    return jobs;
  }

  /** Announces the new jobs; of those added in a transaction Postgres does so after the commit. */
  async #announce(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<void> {
    const announcement = new Announcement();
    for (const [i, { job, delayMs, registration }] of prepared.entries()) {
      const one = saved[i] as Saved & Partial<Registered>;
      for (const id of one.withdrawn ?? []) announcement.removed(job.queueName, id);
      const state = isNew(job, one) ? stateOf(job, one) : one.adopted;
      // The next tick of a new schedule is computed when this one has passed.
      if (state) announcement.add(job.queueName, one.id, state, state === 'delayed' || registration ? delayMs : null);
    }
    const { notifier } = this.#engine;
    if (this.#transaction) await announcement.sendIn(notifier, this.#transaction);
    else announcement.send(notifier);
  }

  /** The new jobs, or the existing ones in their place, unless those were removed meanwhile. */
  async #asJobs(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<Job[]> {
    const queueName = prepared[0]?.job.queueName ?? '';
    const existingIds = saved.filter(({ created }) => !created).map(({ id }) => id);
    const found = await getJobs(this.#executor, queueName, existingIds);
    return prepared.map(({ job, record }, i) => {
      const { id, created, delayUntil, createdAt } = saved[i] as Saved;
      const existing = created ? undefined : found.get(id)?.job;
      const checked = checkedBy(this.#schemas, job.name);
      if (existing) return new Job(existing, this.#store, undefined, checked);
      job.id = id;
      if (created) job.state = stateOf(job, saved[i] as Saved);
      // By the database's clock.
      if (delayUntil) job.delayUntil = delayUntil;
      if (createdAt) job.createdAt = createdAt;
      reviveDates(job.opts);
      return new Job(job, this.#store, undefined, checked).addedAs(record);
    });
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

interface Indexed {
  readonly index: number;
  readonly prepared: Prepared;
}

function* chunks(items: readonly Indexed[]): Generator<Indexed[]> {
  let chunk: Indexed[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = item.prepared.record.bytes;
    if (chunk.length > 0 && (chunk.length >= CHUNK || bytes + size > CHUNK_BYTES)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

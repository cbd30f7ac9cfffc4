import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Executor } from '../../db/executor.js';
import type { JobData, JobOptions } from '../../model/job.js';
import { insertBatch, type Saved } from '../../store/add/insert.js';
import { insertIntoGroup } from '../../store/add/insert-into-group.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { getJobs } from '../../store/read/find.js';
import type { Engine } from '../../store/runtime/engine.js';
import { databaseTime, registerSchedule } from '../../store/schedules/list.js';
import { Job } from '../job/job.js';
import type { JobSchemas } from '../job/schemas.js';
import { Announcement } from './announcement.js';
import { type OwnJob, type Prepared, prepare, prepareRepeating } from './prepare.js';

/** Jobs and bytes of one statement of `addBulk`. */
const CHUNK = 1_000;
const CHUNK_BYTES = 8 * 1024 * 1024;

/** Checks and saves jobs, at once or inside a caller's transaction. */
export class Adder {
  readonly #store: PgStore;
  readonly #schemas: JobSchemas | undefined;
  readonly #created: ((job: Job) => void) | undefined;
  readonly #transaction: Executor | undefined;

  /** @param created hears of each job that is really new. */
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

  async add<J>(queueName: string, name: string, data: unknown, opts: JobOptions): Promise<J> {
    return (await this.#save(await this.#prepare(queueName, name, data, opts))) as J;
  }

  async addBulk<J>(
    queueName: string,
    jobs: readonly { name: string; data: unknown; opts: JobOptions }[],
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

  async #prepare(queueName: string, name: string, data: unknown, opts: JobOptions): Promise<Prepared> {
    const { maxPayloadBytes } = this.#engine.options;
    const prepared = await prepare(queueName, name, data, opts, { schemas: this.#schemas, maxPayloadBytes });
    if (!opts.repeat) return prepared;
    // By this process's clock it was only checked.
    return prepareRepeating(prepared.job, opts.repeat, maxPayloadBytes, await databaseTime(this.#executor));
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
    const jobs = await this.#asJobs(prepared, saved);
    for (const [i, { job }] of prepared.entries()) {
      if (isNew(job, saved[i] as Saved)) this.#created?.(jobs[i] as Job);
    }
    return jobs;
  }

  /** Says what was added: at once to this process and after the commit to the others. */
  async #announce(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<void> {
    const news = new Announcement();
    for (const [i, { job, delayMs, registration }] of prepared.entries()) {
      const one = saved[i];
      if (!one || !isNew(job, one)) continue;
      // A new schedule's next tick is worked out as soon as this one has passed.
      news.add(job.queueName, one.id, job.state, job.state === 'delayed' || registration ? delayMs : null);
    }
    const { notifier } = this.#engine;
    if (this.#transaction) await news.sendIn(notifier, this.#transaction);
    else news.send(notifier);
  }

  /** The new jobs; or those that were there, read unless a fast worker has removed them already. */
  async #asJobs(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<Job[]> {
    const queueName = prepared[0]?.job.queueName ?? '';
    const old = saved.filter(({ created }) => !created).map(({ id }) => id);
    const found = await getJobs(this.#executor, queueName, old);
    return prepared.map(({ job }, i) => {
      const { id, created, delayUntil } = saved[i] as Saved;
      const existing = created ? undefined : found.get(id)?.job;
      const data = existing ?? ({ ...job, id, delayUntil: delayUntil ?? job.delayUntil } as JobData);
      return new Job(data, this.#store);
    });
  }
}

/** Also when the insert's answer was lost, and sent again it found its own row: an id of ours is nobody else's. */
const isNew = (job: OwnJob, { created, id }: Saved) => created || (id === job.id && job.opts.jobId === undefined);

/** Counted or registered, one by one. */
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

import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { DrizzleLike } from '../db/drizzle-like.js';
import type { Executor } from '../db/executor.js';
import { createJobData } from '../model/create-job-data.js';
import { parseDelay } from '../model/duration.js';
import { ConveyorError } from '../model/errors.js';
import type { StoreEvent } from '../model/event.js';
import { generateId } from '../model/ids.js';
import type { JobData, JobOptions, NewJobData } from '../model/job.js';
import { firstTick, scheduleKey, scheduleOf } from '../model/schedule.js';
import { encodePayload } from '../model/values.js';
import type { Engine } from '../store/engine.js';
import { encodeRecord, insertBatch, type JobRecord, type Saved } from '../store/insert.js';
import { insertIntoGroup } from '../store/insert-group.js';
import { getJob } from '../store/jobs.js';
import type { PgStore } from '../store/pg-store.js';
import { type Registration, registerSchedule } from '../store/schedules.js';
import { jobEvent } from './announce.js';
import { Job } from './job.js';
import { type JobSchemas, validateData } from './schemas.js';

/** Jobs and bytes of one statement of `addBulk`. */
const CHUNK = 1_000;
const CHUNK_BYTES = 8 * 1024 * 1024;

/** A job that passed every check: what remains is to save it. */
export interface Prepared {
  readonly job: NewJobData & { id: string };
  readonly record: JobRecord;
  readonly delayMs: number;
}

/** Checks and saves jobs, at once or inside a caller's transaction. */
export class Adder {
  readonly #store: PgStore;
  readonly #schemas: JobSchemas | undefined;
  readonly #transaction: Executor | undefined;

  constructor(store: PgStore, schemas: JobSchemas | undefined, transaction?: DrizzleLike) {
    this.#store = store;
    this.#schemas = schemas;
    this.#transaction = transaction && store.engine.within(transaction);
  }

  get #engine(): Engine {
    return this.#store.engine;
  }

  get #executor(): Executor {
    return this.#transaction ?? this.#engine.executor;
  }

  async prepare(queueName: string, name: string, data: unknown, opts: JobOptions): Promise<Prepared> {
    const schema: StandardSchemaV1 | undefined = this.#schemas?.[name];
    if (this.#schemas && !schema) {
      throw new ConveyorError(
        `Queue "${queueName}" has no schema for jobs named "${name}"; it knows ${Object.keys(this.#schemas).join(', ')}.`,
        { code: 'UNKNOWN_JOB_NAME' },
      );
    }
    const checked = schema ? await validateData(schema, data, name) : data;
    const job = createJobData(queueName, name, checked, opts);
    if (typeof opts.backoff?.customStrategy === 'function') {
      throw new ConveyorError(
        'opts.backoff.customStrategy is a function and cannot be stored: give it to the workers as backoffStrategy, ' +
          "and add the job with backoff: { type: 'custom', delay }.",
        { code: 'STRATEGY_NOT_STORABLE' },
      );
    }
    const id = job.id ?? generateId();
    const delayMs = opts.delay === undefined ? 0 : parseDelay(opts.delay, 'opts.delay');
    const record = encodeRecord(queueName, id, job, {
      maxPayloadBytes: this.#engine.options.maxPayloadBytes,
      delayMs: delayMs > 0 ? delayMs : undefined,
      ownId: job.id === undefined,
    });
    return { job: { ...job, id }, record, delayMs };
  }

  async add<J>(queueName: string, name: string, data: unknown, opts: JobOptions): Promise<J> {
    if (opts.repeat) return (await this.#addRepeating(queueName, name, data, opts)) as J;
    const prepared = await this.prepare(queueName, name, data, opts);
    const { record, job } = prepared;
    const { group } = job.opts;
    let saved: Saved;
    if (group?.maxSize !== undefined) {
      saved = await insertIntoGroup(this.#executor, record, group.id, group.maxSize);
    } else if (this.#transaction) {
      [saved] = (await insertBatch(this.#transaction, [record])) as [Saved];
    } else {
      this.#engine.assertConnected();
      saved = await this.#engine.adds.push(record, record.bytes);
    }
    await this.#announce([prepared], [saved]);
    return (await this.#asJob(prepared, saved)) as J;
  }

  async addBulk<J>(
    queueName: string,
    jobs: readonly { name: string; data: unknown; opts: JobOptions }[],
  ): Promise<J[]> {
    const added: Job[] = new Array(jobs.length);
    const plain: { index: number; prepared: Prepared }[] = [];
    const special: number[] = [];
    for (const [index, { name, data, opts }] of jobs.entries()) {
      if (opts.repeat || opts.group?.maxSize !== undefined) special.push(index);
      else plain.push({ index, prepared: await this.prepare(queueName, name, data, opts) });
    }
    for (const chunk of chunks(plain)) {
      const saved = await insertBatch(
        this.#executor,
        chunk.map(({ prepared }) => prepared.record),
      );
      const all = chunk.map(({ prepared }) => prepared);
      await this.#announce(all, saved);
      for (const [i, { index, prepared }] of chunk.entries()) {
        added[index] = await this.#asJob(prepared, saved[i] as Saved);
      }
    }
    // These are counted or registered one by one.
    for (const index of special) {
      const { name, data, opts } = jobs[index] as (typeof jobs)[number];
      added[index] = await this.add<Job>(queueName, name, data, opts);
    }
    return added as J[];
  }

  async #addRepeating(queueName: string, name: string, data: unknown, opts: JobOptions): Promise<Job> {
    const { repeat } = opts;
    const { job } = await this.prepare(queueName, name, data, opts);
    if (!repeat) throw new TypeError('opts.repeat is missing');
    const schedule = scheduleOf(repeat);
    const first = firstTick(repeat, Date.now());
    if (first === null) {
      throw new RangeError(`opts.repeat never fires: ${JSON.stringify(repeat)} has no tick before its endDate.`);
    }
    const key = scheduleKey(name, repeat, job.data);
    const due = first > Date.now();
    const tick: NewJobData = { ...job, state: due ? 'delayed' : 'waiting', delayUntil: due ? new Date(first) : null };
    const { maxPayloadBytes } = this.#engine.options;
    const record = encodeRecord(queueName, job.id, tick, { maxPayloadBytes, scheduleKey: key });
    const registration: Registration = {
      queueName,
      key,
      jobName: name,
      data: encodePayload(job.data, { path: 'data', maxBytes: maxPayloadBytes }),
      opts: encodePayload(job.opts, { path: 'opts', maxBytes: maxPayloadBytes }),
      cron: schedule.cron,
      everyMs: schedule.everyMs,
      tz: schedule.tz,
      startAt: schedule.startAt,
      endAt: schedule.endAt,
      anchorAt: first,
      firstTick: first,
      limit: repeat.limit ?? null,
    };
    const saved = await registerSchedule(this.#executor, registration, record);
    const prepared: Prepared = { job: { ...tick, id: job.id }, record, delayMs: due ? first - Date.now() : 0 };
    await this.#announce([prepared], [saved]);
    return this.#asJob(prepared, saved);
  }

  /** Says what was added: at once to this process and after the commit to the others. */
  async #announce(prepared: readonly Prepared[], saved: readonly Saved[]): Promise<void> {
    const byQueue = new Map<string, { events: StoreEvent[]; bell: boolean; dueIn: number | null }>();
    for (const [i, { job, delayMs }] of prepared.entries()) {
      const one = saved[i];
      if (!one?.created) continue;
      let message = byQueue.get(job.queueName);
      if (!message) {
        message = { events: [], bell: false, dueIn: null };
        byQueue.set(job.queueName, message);
      }
      if (job.state === 'waiting') message.bell = true;
      if (job.state === 'delayed') message.dueIn = Math.min(message.dueIn ?? Number.MAX_SAFE_INTEGER, delayMs);
      message.events.push(jobEvent(`job:${job.state}` as StoreEvent['type'], job.queueName, one.id));
    }
    if (byQueue.size === 0) return;
    const { hub } = this.#engine;
    if (this.#transaction) {
      const messages = [...byQueue].map(([queueName, message]) => ({ queueName, ...message }));
      await hub.announceIn(this.#transaction, messages);
      return;
    }
    for (const [queueName, { events, bell, dueIn }] of byQueue) {
      hub.publish(events);
      if (bell) hub.ring(queueName);
      if (dueIn !== null) hub.ring(queueName, dueIn);
    }
  }

  /** The new job; or the one that was there, read unless a fast worker has removed it already. */
  async #asJob({ job }: Prepared, saved: Saved): Promise<Job> {
    const data = { ...job, id: saved.id, delayUntil: saved.delayUntil ?? job.delayUntil } as JobData;
    if (saved.created) return new Job(data, this.#store);
    const existing = await getJob(this.#executor, job.queueName, saved.id);
    return new Job(existing?.job ?? data, this.#store);
  }
}

function* chunks<T extends { prepared: Prepared }>(items: readonly T[]): Generator<T[]> {
  let chunk: T[] = [];
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

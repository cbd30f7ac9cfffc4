import { withDeadline } from '../../db/deadline.js';
import { newJobData } from '../../model/create-job-data.js';
import { ConnectionError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import { getJobs } from '../../store/read/find.js';
import type { JobKey } from '../../store/read/job-status.js';
import { Batcher } from '../../store/runtime/batcher.js';
import type { Engine } from '../../store/runtime/engine.js';

/** Observers wait at most so long, in ms, for the job's data; then they get what is known of it. */
const READ_MS = 5_000;
/** Jobs of one read. */
const BATCH = { maxItems: 500, maxSize: 500, parallel: 1 };

const readers = new WeakMap<Engine, Batcher<JobKey, JobData | undefined>>();

/** Jobs of several queues, in the order of the keys; undefined where there is none. */
async function readJobs(engine: Engine, keys: readonly JobKey[]): Promise<(JobData | undefined)[]> {
  const idsByQueue = new Map<string, Set<string>>();
  for (const { queueName, id } of keys) {
    const ids = idsByQueue.get(queueName) ?? new Set();
    idsByQueue.set(queueName, ids.add(id));
  }
  const found = new Map<string, JobData>();
  for (const [queueName, ids] of idsByQueue) {
    const jobs = await getJobs(engine.executor, queueName, [...ids]);
    for (const [id, { job }] of jobs) found.set(`${queueName}\n${id}`, job);
  }
  return keys.map(({ queueName, id }) => found.get(`${queueName}\n${id}`));
}

function readerOf(engine: Engine): Batcher<JobKey, JobData | undefined> {
  let reader = readers.get(engine);
  if (!reader) {
    reader = new Batcher((keys) => readJobs(engine, keys), BATCH);
    readers.set(engine, reader);
  }
  return reader;
}

/** The data of an observed job: as it was last read, with the changes of its later events. */
export class ObservedJob {
  readonly #engine: Engine;
  readonly #key: JobKey;
  #known: JobData | undefined;

  /** @param known the job, if it has been read already */
  constructor(engine: Engine, key: JobKey, known?: JobData) {
    this.#engine = engine;
    this.#key = key;
    this.#known = known;
  }

  /**
   * The job with a change. Of one that was removed before it could be read only id, queue and the change are known.
   * Never rejects: without an answer of the database it is what was known before.
   *
   * @param reread reads it anew; otherwise it is read only if it never was
   */
  async with(change: Partial<JobData>, reread: boolean): Promise<JobData> {
    if (reread || !this.#known) {
      const read = await this.#read().catch(() => undefined);
      if (read) this.#known = read;
    }
    if (!this.#known) return { ...unknownJob(this.#key), ...change };
    this.#known = { ...this.#known, ...change };
    return this.#known;
  }

  #read(): Promise<JobData | undefined> {
    const late = () => new ConnectionError(`no answer within ${READ_MS} ms`);
    return withDeadline(readerOf(this.#engine).push(this.#key), READ_MS, late);
  }
}

const unknownJob = ({ queueName, id }: JobKey): JobData => ({
  ...newJobData(queueName, '', null, { options: {}, delayMs: 0 }, id),
  id,
});

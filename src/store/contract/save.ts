import { generateId } from '../../model/ids.js';
import type { NewJobData } from '../../model/job.js';
import { checkNewJob } from '../../model/options/check-job.js';
import { inMilliseconds } from '../../model/options/job-options.js';
import { validateName, validateQueueName } from '../../model/options/names.js';
import { encodeRecord, insertBatch, type JobRecord } from '../add/insert.js';
import { saveFlow } from '../add/insert-flow.js';
import type { Engine } from '../runtime/engine.js';

/** Saving jobs as their caller made them: state, times and all. */

interface NewJob {
  readonly queueName: string;
  readonly job: NewJobData;
}

/** Saves jobs, all or nothing, and wakes the workers of those that can run; answers with the ids in their order. */
export async function saveJobs(engine: Engine, jobs: readonly NewJob[]): Promise<string[]> {
  const saved = await insertBatch(
    engine.executor,
    jobs.map((job) => recordOf(engine, job)),
  );
  for (const job of jobs) wakeFor(engine, job);
  return saved.map(({ id }) => id);
}

/** The same for a tree of jobs, which is saved as a whole or exists already. */
export async function saveTree(engine: Engine, jobs: readonly NewJob[]): Promise<string[]> {
  const ids = await saveFlow(
    engine.executor,
    jobs.map((job) => recordOf(engine, job)),
  );
  for (const job of jobs) wakeFor(engine, job);
  return ids;
}

function recordOf({ options }: Engine, { queueName, job }: NewJob): JobRecord {
  validateQueueName(queueName);
  checkNewJob(job);
  const ownId = job.id == null;
  const id = job.id == null ? generateId() : validateName(job.id, 'job.id');
  const opts = inMilliseconds(job.opts);
  return encodeRecord(queueName, id, opts === job.opts ? job : { ...job, opts }, {
    maxPayloadBytes: options.maxPayloadBytes,
    ownId,
  });
}

function wakeFor({ notifier }: Engine, { queueName, job: { state, delayUntil } }: NewJob): void {
  if (state === 'waiting') notifier.wake(queueName);
  else if (state === 'delayed' && delayUntil) notifier.wake(queueName, delayUntil.getTime() - Date.now());
}

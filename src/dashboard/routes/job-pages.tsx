import { JobNotFoundError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import { validateName, validateQueueName } from '../../model/options/names.js';
import { findJobById, getJob } from '../../store/read/find.js';
import { FlowPage, Flows } from '../pages/flows.js';
import { JobPage } from '../pages/job.js';
import { keyOf, readFlows, readFlowTree } from '../queries/flows.js';
import { placeIn, placeText } from '../queries/keyset.js';
import { type Context, viewOf } from './context.js';
import type { Fields } from './pages.js';

export async function jobPage(context: Context, fields: Fields) {
  const { executor } = context.store.engine;
  const queue = validateQueueName(fields['queue']);
  const id = validateName(fields['id'], 'job id');
  const [stored, tree] = await Promise.all([getJob(executor, queue, id), readFlowTree(executor, queue, id)]);
  if (!stored) throw new JobNotFoundError(id, queue);
  const { scheduleKey, stalledCount } = stored;
  const job = shownJob(context, stored.job);
  return <JobPage view={viewOf(context)} data={{ job, scheduleKey, stalledCount, tree }} />;
}

/** All of a job as the pages would show it, however large. */
export async function jobJson(context: Context, fields: Fields): Promise<string> {
  const queue = validateQueueName(fields['queue']);
  const id = validateName(fields['id'], 'job id');
  const stored = await getJob(context.store.engine.executor, queue, id);
  if (!stored) throw new JobNotFoundError(id, queue);
  return JSON.stringify(shownJob(context, stored.job), null, 2);
}

// Who wrote the hook may return less than was given.
const shownJob = ({ redact }: Context, job: JobData): JobData => ({ ...job, ...redact(job) });

/** Where the job with this id is; undefined: there is none. */
export async function placeOfJob(context: Context, fields: Fields): Promise<string | undefined> {
  const id = validateName(fields['id']?.trim(), 'job id');
  const found = await findJobById(context.store.engine.executor, id);
  return found ? context.links.job(found.job.queueName, found.job.id) : undefined;
}

export async function flowsPage(context: Context, fields: Fields) {
  const { flows, hasMore } = await readFlows(context.store.engine.executor, placeIn(fields['after'], 'time'));
  const last = flows.at(-1);
  const next = hasMore && last ? placeText(last.place) : null;
  return <Flows view={viewOf(context)} data={{ flows, next }} />;
}

export async function flowPage(context: Context, fields: Fields) {
  const queue = validateQueueName(fields['queue']);
  const id = validateName(fields['id'], 'job id');
  const tree = await readFlowTree(context.store.engine.executor, queue, id);
  if (!tree) throw new JobNotFoundError(id, queue);
  return <FlowPage view={viewOf(context)} tree={tree} current={keyOf(queue, id)} />;
}

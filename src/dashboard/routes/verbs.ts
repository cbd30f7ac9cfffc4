import { Queue } from '../../core/queue/queue.js';
import { oneOf, validateName, validateQueueName } from '../../model/options/names.js';
import { JOB_VERBS } from '../components/verbs.js';
import { filterOf } from '../queries/job-filter.js';
import { isSecret } from '../security/redact.js';
import { acceptsOf } from '../verbs/accepts.js';
import { type Applied, applyToEach } from '../verbs/apply.js';
import { applyToAll } from '../verbs/apply-to-all.js';
import type { Context } from './context.js';

/** The writes. Each takes a JSON object and answers with a message for the reader. */

type Body = Readonly<Record<string, unknown>>;

const MAX_IDS = 1_000;
const DONE = { retry: 'Retried', promote: 'Made waiting', cancel: 'Cancelled', remove: 'Removed' } as const;

/** `{ verb, queue, ids }`, or `{ verb, filter }` for all jobs that match. */
export async function jobVerb({ store, redact }: Context, body: Body): Promise<object> {
  const verb = oneOf(body['verb'], 'verb', JOB_VERBS);
  const word = DONE[verb];
  if (body['filter'] === undefined) {
    const queue = validateQueueName(body['queue']);
    return told(word, await applyToEach(store, queue, idsIn(body['ids']), verb));
  }
  const fields = body['filter'] as Body | null;
  if (typeof fields !== 'object' || fields === null) throw new TypeError('filter must be an object.');
  const { filter, problems } = filterOf(validateQueueName(fields['queue']), fields, isSecret);
  // A filter of which a part is left out matches more than was meant.
  if (problems.length > 0) throw new RangeError(problems.join(' '));
  return told(word, await applyToAll(store, filter, verb, acceptsOf(filter, redact)));
}

function idsIn(ids: unknown): string[] {
  if (!Array.isArray(ids) || ids.length === 0 || ids.length > MAX_IDS) {
    throw new TypeError(`ids must be an array of 1 to ${MAX_IDS} job ids.`);
  }
  return [...new Set(ids.map((id) => validateName(id, 'job id')))];
}

function told(word: string, applied: Applied): object {
  const { done, passed, more } = applied;
  const jobs = (n: number) => (n === 1 ? '1 job' : `${n.toLocaleString('en')} jobs`);
  const others = passed > 0 ? ` ${jobs(passed)} could not be: gone by now, or in another state.` : '';
  const rest = more ? ' There are more that match: do it again for them.' : '';
  return { ...applied, message: `${word} ${jobs(done)}.${others}${rest}` };
}

/** `{ verb, queue }`, and `jobName` for the jobs of one name. */
export async function queueVerb({ store }: Context, body: Body): Promise<object> {
  const verb = oneOf(body['verb'], 'verb', ['pause', 'resume']);
  const name = validateQueueName(body['queue']);
  const jobName = body['jobName'] === undefined ? undefined : validateName(body['jobName'], 'jobName');
  const queue = new Queue(name, { store });
  await queue[verb](jobName === undefined ? {} : { jobName });
  const what = jobName === undefined ? `Queue ${name}` : `Jobs named ${jobName} of ${name}`;
  return { message: verb === 'pause' ? `${what} paused: workers take no more jobs of it.` : `${what} resumed.` };
}

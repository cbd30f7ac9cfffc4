import { Job } from '../../core/job/job.js';
import { InvalidJobStateError, JobNotFoundError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { JobVerb } from '../components/verbs.js';

/** What came of a verb for many jobs. */
export interface Applied {
  readonly done: number;
  /** Jobs that are gone, or in a state that the verb is not for. */
  readonly passed: number;
  /** There are more than one call takes. */
  readonly more: boolean;
}

/** Jobs that a verb is applied to at once: a statement each, over the few connections of the store. */
const AT_ONCE = 8;

/** True when it was done; false for a job that is gone or in another state, which is no error where there are many. */
export async function applyTo(store: PgStore, queueName: string, id: string, verb: JobVerb): Promise<boolean> {
  // A verb needs no more of the job than which it is.
  const job = new Job({ queueName, id } as JobData, store);
  try {
    if (verb === 'cancel') return await job.cancel();
    await job[verb]();
    return true;
  } catch (error) {
    if (error instanceof JobNotFoundError || error instanceof InvalidJobStateError) return false;
    throw error;
  }
}

export async function applyToEach(
  store: PgStore,
  queueName: string,
  ids: readonly string[],
  verb: JobVerb,
): Promise<Applied> {
  let done = 0;
  for (let i = 0; i < ids.length; i += AT_ONCE) {
    const some = ids.slice(i, i + AT_ONCE);
    const answers = await Promise.all(some.map((id) => applyTo(store, queueName, id, verb)));
    done += answers.filter(Boolean).length;
  }
  return { done, passed: ids.length - done, more: false };
}

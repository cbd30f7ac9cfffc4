import { type JobFilter, looksIntoData } from '../queries/job-filter.js';
import type { ListedJob } from '../queries/jobs.js';
import type { Redact } from '../security/redact.js';

/**
 * Whether a job may be shown to match: a search must not tell what is redacted. A job whose payload is shown as it is
 * matches; of another, what is left of it has to.
 */
export function acceptsOf(filter: JobFilter, redact: Redact): (job: ListedJob) => boolean {
  if (!looksIntoData(filter)) return () => true;
  return (job) => {
    const { data } = redact({ id: job.id, name: job.name, queueName: job.queueName, data: job.data, opts: {} });
    if (JSON.stringify(data) === JSON.stringify(job.data)) return true;
    return hasText(data, filter.text) && hasValue(data, filter.path, filter.value);
  };
}

function hasText(data: unknown, text: string | undefined): boolean {
  if (text === undefined) return true;
  const shown = (JSON.stringify(data) ?? '').toLowerCase();
  const wanted = text.toLowerCase();
  return shown.includes(wanted) || shown.includes(JSON.stringify(wanted).slice(1, -1));
}

function hasValue(data: unknown, path: readonly string[] | undefined, value: string | undefined): boolean {
  if (path === undefined) return true;
  let at: unknown = data;
  for (const key of path) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, key)) return false;
    at = (at as Record<string, unknown>)[key];
  }
  return value === undefined || (typeof at === 'string' ? at : JSON.stringify(at)) === value;
}

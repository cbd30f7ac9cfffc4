import { JOB_STATES, type JobState } from '../../model/job.js';

/** What a list of jobs is confined to. */
export interface JobFilter {
  readonly queue: string;
  /** Undefined: any, one after the other. */
  readonly state: JobState | undefined;
  /** In any case, anywhere in the job's name. */
  readonly name: string | undefined;
  /** In any case, anywhere in the payload's JSON text. */
  readonly text: string | undefined;
  /** Keys from the outside in. */
  readonly path: readonly string[] | undefined;
  /** As text; undefined: there is a value, whatever it is. */
  readonly value: string | undefined;
  /** Bounds of the time that the state is ordered by, in epoch ms. */
  readonly since: number | undefined;
  readonly until: number | undefined;
}

/** In which order the states of an unfiltered list follow each other. */
export const STATE_ORDER: readonly JobState[] = [
  'active',
  'waiting',
  'waiting-children',
  'delayed',
  'failed',
  'completed',
];

export const statesOf = (filter: JobFilter): readonly JobState[] =>
  filter.state === undefined ? STATE_ORDER : [filter.state];

/** The payload decides: it has to be read, and what is hidden in it must not decide. */
export const looksIntoData = (filter: JobFilter): boolean => filter.text !== undefined || filter.path !== undefined;

/** Nothing but queue and state: then all that match are the state. */
export const isWholeState = (filter: JobFilter): boolean =>
  filter.name === undefined && !looksIntoData(filter) && filter.since === undefined && filter.until === undefined;

export const isState = (text: string | undefined): text is JobState =>
  (JOB_STATES as readonly (string | undefined)[]).includes(text);

/** `user.id` as keys; a dot in a key is written `\.`. */
const pathIn = (text: string): string[] => text.split(/(?<!\\)\./).map((key) => key.replaceAll('\\.', '.'));
const pathText = (path: readonly string[]): string => path.map((key) => key.replaceAll('.', '\\.')).join('.');

/** The filter as the fields of a form, an address or a body. */
export function fieldsOf(filter: JobFilter): Record<string, string | undefined> {
  const { queue, state, name, text, path, value, since, until } = filter;
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());
  return { queue, state, name, text, path: path && pathText(path), value, since: time(since), until: time(until) };
}

const MAX_TEXT = 500;

/** What fields ask for. Fields that mean nothing are left out, and `problems` says why. */
export function filterOf(
  queue: string,
  fields: Readonly<Record<string, unknown>>,
  isHidden: (key: string) => boolean,
): { filter: JobFilter; problems: string[] } {
  const problems: string[] = [];
  const text = (name: string): string | undefined => {
    const value = fields[name];
    if (typeof value !== 'string' || value === '') return undefined;
    // What Postgres cannot hold, no job contains.
    if (value.length <= MAX_TEXT && value.isWellFormed() && !value.includes('\0')) return value;
    problems.push(`${name} cannot be looked for: it is too long, or holds what Postgres cannot.`);
    return undefined;
  };
  const time = (name: string): number | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    // A form sends a time without a zone, which is UTC.
    const at = Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(value) ? value : `${value}Z`);
    if (!Number.isNaN(at) && at >= 0) return at;
    problems.push(`${name} is not a time.`);
    return undefined;
  };
  const state = text('state');
  if (state !== undefined && !isState(state)) problems.push('There is no such state.');
  let path = text('path');
  if (path !== undefined && pathIn(path).some(isHidden)) {
    problems.push('What stands under that path is redacted, and cannot be looked for.');
    path = undefined;
  }
  const filter = {
    queue,
    state: isState(state) ? state : undefined,
    name: text('name'),
    text: text('text'),
    path: path === undefined ? undefined : pathIn(path),
    value: path === undefined ? undefined : text('value'),
    since: time('since'),
    until: time('until'),
  };
  return { filter, problems };
}

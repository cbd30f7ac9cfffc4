import type { Executor } from '../../db/executor.js';
import type { Param, Row } from '../../db/statement.js';
import type { JobState } from '../../model/job.js';
import { isState, isWholeState, type JobFilter, looksIntoData, statesOf } from './job-filter.js';
import { type ListParams, ORDERS, selectPage, selectScanEnd } from './job-list.js';
import { type Place, placeIn, placeText } from './keyset.js';
import { PAGE_TIMEOUT, SCAN_CAP, SEARCH_TIMEOUT } from './limits.js';

/** A job as a list shows it. */
export interface ListedJob {
  readonly id: string;
  readonly name: string;
  readonly queueName: string;
  readonly state: JobState;
  readonly attemptsMade: number;
  /** Attempts that it has in all. */
  readonly attempts: number;
  readonly progress: number;
  readonly priority: number;
  readonly groupId: string | null;
  readonly parentId: string | null;
  readonly lockedBy: string | null;
  readonly failedReason: string | null;
  readonly createdAt: Date | null;
  readonly processedAt: Date | null;
  readonly delayUntil: Date | null;
  /** Completed, or failed. */
  readonly endedAt: Date | null;
  readonly cancelledAt: Date | null;
  /** Undefined: too large for a list. */
  readonly data: unknown;
}

/** Where a page begins: behind a place in a state, or at the begin of the state. */
export interface Cursor {
  readonly state: JobState;
  readonly place: Place | null;
}

export interface JobPage {
  readonly jobs: readonly ListedJob[];
  /** Null: there are no more. */
  readonly next: Cursor | null;
  /** Jobs that were looked through before a filter had found a page of them; null: it has found one, or seen all. */
  readonly scanned: number | null;
}

/** What stands in an address. Anything but a cursor of these states is the first page. */
export function cursorIn(text: string | undefined, states: readonly JobState[]): Cursor | null {
  const [state = '', ...rest] = (text ?? '').split('~');
  if (!isState(state) || !states.includes(state)) return null;
  const place = placeIn(rest.join('~'), ORDERS[state].kind);
  return place || rest.length === 0 ? { state, place } : null;
}

export const cursorText = ({ state, place }: Cursor): string => (place ? `${state}~${placeText(place)}` : state);

export interface PageOptions {
  readonly cursor: Cursor | null;
  readonly limit: number;
  /** Whether a job that matches may be shown to match. */
  readonly accepts?: (job: ListedJob) => boolean;
}

/** Jobs that match, state by state, from the cursor on. */
export async function readJobs(executor: Executor, filter: JobFilter, options: PageOptions): Promise<JobPage> {
  const { cursor, limit, accepts = () => true } = options;
  const filtered = !isWholeState(filter);
  const data = looksIntoData(filter);
  const timeout = data ? SEARCH_TIMEOUT : PAGE_TIMEOUT;
  const jobs: ListedJob[] = [];
  const all = statesOf(filter);
  const states = cursor ? all.slice(all.indexOf(cursor.state)) : all;
  for (const state of states) {
    const place = cursor?.state === state ? cursor.place : null;
    const values = valuesOf(filter, place);
    const room = limit - jobs.length;
    if (room === 0) return { jobs, next: { state, place: null }, scanned: null };
    const rows = await executor.run(selectPage({ state, filtered, data }), { ...values, limit: room + 1 }, { timeout });
    const shown = rows.slice(0, room);
    jobs.push(...shown.map((row) => readListed(row, filter.queue)).filter(accepts));
    if (rows.length > room) return { jobs, next: { state, place: placeOfRow(shown.at(-1)!) }, scanned: null };
    if (!filtered) continue;
    const [end] = await executor.run(selectScanEnd({ state }), { ...values, limit: 0 }, { timeout });
    if (end) return { jobs, next: { state, place: placeOfRow(end) }, scanned: SCAN_CAP };
  }
  return { jobs, next: null, scanned: null };
}

const placeOfRow = (row: Row): Place => ({ at: row.at(-2) as string, seq: row.at(-1) as string });

function valuesOf(filter: JobFilter, place: Place | null): Record<ListParams, Param> {
  const { queue, name, text, path, value, since, until } = filter;
  return {
    queue,
    at: place?.at ?? null,
    seq: place?.seq ?? null,
    limit: 0,
    name: name === undefined ? null : containing(name),
    text: text === undefined ? null : containing(text),
    // Inside a string the payload's text has a quote, a backslash or a line end as JSON writes it.
    escaped: text === undefined ? null : containing(JSON.stringify(text).slice(1, -1)),
    path: path ? JSON.stringify(path) : null,
    value: value ?? null,
    since: since ?? null,
    until: until ?? null,
  };
}

/** A LIKE pattern in which the text's own `%`, `_` and `\` mean themselves. */
const containing = (text: string): string => `%${text.replace(/[\\%_]/g, '\\$&')}%`;

function readListed(row: Row, queueName: string): ListedJob {
  const cells = row as string[];
  const [id, name, state, attemptsMade, progress, priority, groupId, parentId, lockedBy, attempts, failedReason] =
    cells;
  const [created, processed, delayUntil, completed, failed, cancelled, data] = cells.slice(11);
  return {
    id: id!,
    name: name!,
    queueName,
    state: state as JobState,
    attemptsMade: Number(attemptsMade),
    attempts: Number(attempts ?? 1) || 1,
    progress: Number(progress),
    priority: Number(priority),
    groupId: groupId ?? null,
    parentId: parentId ?? null,
    lockedBy: lockedBy ?? null,
    failedReason: failedReason ?? null,
    createdAt: time(created),
    processedAt: time(processed),
    delayUntil: time(delayUntil),
    endedAt: time(completed) ?? time(failed),
    cancelledAt: time(cancelled),
    data: data == null ? undefined : JSON.parse(data),
  };
}

const time = (ms: string | null | undefined): Date | null => (ms == null ? null : new Date(Number(ms)));

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { OPTIONAL, type Statement, variants } from '../../db/statement.js';
import { alias, type Jobs } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import { JOB_STATES, type JobState } from '../../model/job.js';
import { assertJobState, integerIn, validateQueueName } from '../../model/options/names.js';
import type { SearchFilter } from '../../model/store-interface.js';
import { isStorable, show } from '../../model/text.js';
import { JOB_COLUMN_COUNT, jobColumns, readJob } from '../rows/job-row.js';
import type { StoredJob } from '../rows/stored-job.js';
import { inQueue, inState } from '../rules/states.js';
import { pageOf, rowsOfPage } from './list.js';

/** No index helps a search in the middle of a text: in a table of millions it fails after this many ms. */
const SEARCH_TIMEOUT = 15_000;

type Params = 'queue' | 'states' | 'name' | 'payload' | 'escaped' | 'after' | 'before' | 'limit' | 'offset';
/** What a search is confined to, as far as it decides which index can be used. */
interface Shape {
  queue: boolean;
  state: JobState | typeof ANY;
  total: boolean;
}
const ANY = 'any';

function searchName({ queue, state, total }: Shape): string {
  return `search${queue ? ' queue' : ''}${state === ANY ? '' : ` ${state}`}${total ? ' with total' : ''}`;
}

/** Page and total are one statement, so that they tell of the same moment. Without a total it is a null column. */
const searchStatement: (wanted: Shape) => Statement<Params> = variants(
  { queue: OPTIONAL, state: [ANY, ...JOB_STATES], total: OPTIONAL },
  (wanted, declare) =>
    declare(
      searchName(wanted),
      ['queue', 'states', 'name', 'payload', 'escaped', 'after', 'before', 'limit', 'offset'],
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const from = sql`from ${db.jobs} as ${j} where ${matches(j, p)}
        ${within(j, p.queue, wanted)}`;
        const count = wanted.total ? sql`(select count(*) ${from})` : sql`null::bigint`;
        return sql`
        with page as materialized (
          select ${j}.ctid ${from} order by ${j.createdAt} desc, ${j.seq} desc
          limit ${p.limit}::bigint offset ${p.offset}::bigint)
        select ${jobColumns(j)}, (t.n)::text as ${sql.raw(`c${JOB_COLUMN_COUNT}`)}
        from (select ${count} as n) t left join ${db.jobs} as ${j} on ${rowsOfPage(j)}
        order by ${j.createdAt} desc, ${j.seq} desc`;
      },
      { repeatable: true },
    ),
);

function within(j: Jobs, name: SQLWrapper, { queue, state }: Shape): SQL {
  if (state === ANY) return queue ? sql` and ${inQueue(j, name)}` : sql``;
  return sql` and ${inState(j, state)}${queue ? sql` and ${j.queueName} = ${name}` : sql``}`;
}

function matches(j: Jobs, p: Record<Params, SQL>): SQL {
  return sql`(${p.states} is null or ${j.state} = any(array(select jsonb_array_elements_text(${p.states}::jsonb))))
    and (${p.name} is null or ${j.name} ilike ${p.name})
    and (${p.payload} is null or (${j.data})::text ilike ${p.payload} or (${j.data})::text ilike ${p.escaped})
    and (${p.after} is null or ${j.createdAt} >= ${instantOf(p.after)})
    and (${p.before} is null or ${j.createdAt} <= ${instantOf(p.before)})`;
}

interface Search {
  queueName?: string | undefined;
  states?: readonly JobState[] | undefined;
  name?: string | undefined;
  payload?: string | undefined;
  after?: number | null;
  before?: number | null;
  limit: number;
  offset: number;
  total: boolean;
}

async function search(executor: Executor, wanted: Search): Promise<{ jobs: StoredJob[]; total: number }> {
  const { queueName, states = [], name, payload, limit, offset, total } = wanted;
  // What Postgres cannot hold, no job contains.
  if (!isStorable(name ?? '') || !isStorable(payload ?? '')) return { jobs: [], total: 0 };
  const only = states.length === 1 ? (states[0] as JobState) : ANY;
  const rows = await executor.run(
    searchStatement({ queue: queueName !== undefined, state: only, total }),
    {
      queue: queueName ?? null,
      states: states.length > 1 ? JSON.stringify(states) : null,
      name: name === undefined ? null : containing(name),
      payload: payload === undefined ? null : containing(payload),
      // Inside a string the payload's text has a quote, a backslash or a line end as JSON writes it.
      escaped: payload === undefined ? null : containing(JSON.stringify(payload).slice(1, -1)),
      after: wanted.after ?? null,
      before: wanted.before ?? null,
      limit,
      offset,
    },
    { timeout: SEARCH_TIMEOUT },
  );
  return {
    jobs: rows.filter(([id]) => id !== null).map((row) => readJob(row)),
    total: Number(rows[0]?.[JOB_COLUMN_COUNT] ?? 0),
  };
}

/** A LIKE pattern in which the text's own `%`, `_` and `\` mean themselves. */
function containing(text: string): string {
  return `%${text.replace(/[\\%_]/g, '\\$&')}%`;
}

function textOf(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`${name} is ${show(value)}; it must be a string.`);
  return value;
}

/** The years that Postgres and JavaScript both know: a bound beyond them bounds nothing. */
const FIRST = Date.UTC(-4000, 0, 1);
const LAST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

function boundOf(value: Date | undefined, name: string): number | null {
  if (value === undefined) return null;
  if (!(value instanceof Date)) throw new TypeError(`${name} is ${show(value)}; it must be a Date.`);
  const ms = value.getTime();
  if (Number.isNaN(ms)) throw new RangeError(`${name} is an invalid Date.`);
  return Math.min(Math.max(ms, FIRST), LAST);
}

const limitOf = (limit: number): number => integerIn(limit, 'limit', 0, Number.MAX_SAFE_INTEGER);

/** Jobs whose name contains the text, in any case, newest first. */
export async function searchByName(
  executor: Executor,
  text: string,
  queueName: string | undefined,
  limit: number,
): Promise<StoredJob[]> {
  const name = textOf(text, 'text');
  if (queueName !== undefined) validateQueueName(queueName);
  const wanted = { queueName, name, limit: limitOf(limit), offset: 0, total: false };
  return wanted.limit === 0 ? [] : (await search(executor, wanted)).jobs;
}

/** Jobs whose payload, as JSON text, contains the text, in any case, newest first. */
export async function searchByPayload(
  executor: Executor,
  queueName: string,
  text: string,
  limit: number,
): Promise<StoredJob[]> {
  const payload = textOf(text, 'text');
  const wanted = { queueName: validateQueueName(queueName), payload, limit: limitOf(limit), offset: 0, total: false };
  return wanted.limit === 0 ? [] : (await search(executor, wanted)).jobs;
}

/** Newest first; the total counts all that match. No states, or an empty list of them: any state. */
export async function searchJobs(
  executor: Executor,
  filter: SearchFilter,
  start: number,
  end: number,
): Promise<{ jobs: StoredJob[]; total: number }> {
  const { queueName, states, name } = filter;
  if (queueName !== undefined) validateQueueName(queueName);
  for (const state of states ?? []) assertJobState(state);
  return search(executor, {
    queueName,
    states: [...new Set(states)],
    name: name === undefined ? undefined : textOf(name, 'filter.name'),
    after: boundOf(filter.createdAfter, 'filter.createdAfter'),
    before: boundOf(filter.createdBefore, 'filter.createdBefore'),
    ...pageOf(start, end),
    total: true,
  });
}

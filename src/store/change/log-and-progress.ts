import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, literal, type Tables } from '../../db/tables.js';
import { heldIfLeased, LEASE_PARAMS, type Lease, leaseValues } from '../rules/lease.js';
import { type ChangeAnswer, change, readAnswer } from './change.js';

/** What a handler says while it runs. Written often, so without reading the row first. */

const updateProgress = statement(
  'progress',
  ['queue', 'id', ...LEASE_PARAMS, 'progress'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`update ${db.jobs} as ${j} set ${bare(db.jobs).progress} = ${p.progress}::float8
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${heldIfLeased(j, p)}
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/** False when the job is gone, or the lease is lost. */
export async function setProgress(
  executor: Executor,
  queueName: string,
  id: string,
  progress: number,
  lease: Lease | null,
): Promise<boolean> {
  const values = { queue: queueName, id, progress, ...leaseValues(lease) };
  return (await executor.run(updateProgress, values)).length > 0;
}

/** Newest lines kept per job: a job that logs for ever must not make each append rewrite all of it. */
export const MAX_LOG_LINES = 1_000;

/** The job's log as a list, also where the column was changed by hand to something else. */
function logOf(db: Tables) {
  const { logs } = alias(db.jobs, 'j');
  return sql`(case jsonb_typeof(${logs}) when 'array' then ${logs} else '[]'::jsonb end)`;
}

/** The newest `keep` elements of a list. */
function newest(list: ReturnType<typeof sql>, keep: ReturnType<typeof sql>) {
  return sql`(select coalesce(jsonb_agg(line order by n), '[]'::jsonb)
    from jsonb_array_elements(${list}) with ordinality as l(line, n) where n > jsonb_array_length(${list}) - ${keep})`;
}

const appendToLog = statement('append to log', ['queue', 'id', ...LEASE_PARAMS, 'lines'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const all = sql`(${logOf(db)} || ${p.lines}::jsonb)`;
  const max = literal(MAX_LOG_LINES);
  return sql`update ${db.jobs} as ${j} set ${bare(db.jobs).logs} =
      case when jsonb_array_length(${all}) <= ${max} then ${all} else ${newest(all, max)} end
    where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${heldIfLeased(j, p)}
    returning ${columns(j.id)}`;
});

/** Appends; concurrent callers lose nothing. `lines` is the JSON text of an array of strings. */
export async function appendLog(
  executor: Executor,
  queueName: string,
  id: string,
  lines: string,
  lease: Lease | null,
): Promise<boolean> {
  const values = { queue: queueName, id, lines, ...leaseValues(lease) };
  return (await executor.run(appendToLog, values)).length > 0;
}

const cutLog = change(
  'clear logs',
  ['keep', ...LEASE_PARAMS],
  (db, p) => ({
    allowed: heldIfLeased(alias(db.jobs, 'j'), p),
    set: sql`${bare(db.jobs).logs} = ${newest(logOf(db), sql`${p.keep}::int`)}`,
  }),
  { repeatable: true },
);

/** Empties a job's log but for its newest `keep` lines; with a lease only while that holds it. */
export async function clearLogs(
  executor: Executor,
  queueName: string,
  id: string,
  keep: number,
  lease: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(cutLog, { queue: queueName, id, keep, ...leaseValues(lease) }));
}

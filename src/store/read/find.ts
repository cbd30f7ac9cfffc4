import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, now, statement } from '../../db/statement.js';
import { jobColumns, readJob, type StoredJob } from '../rows/job-row.js';
import { holdsKey, keyExpired } from '../rules/deduplication.js';
import { stillIn } from '../rules/states.js';

const selectJob = statement(
  'get job',
  ['queue', 'id'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`select ${jobColumns(j)} from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  },
  { repeatable: true },
);

export async function getJob(executor: Executor, queueName: string, id: string): Promise<StoredJob | null> {
  const [row] = await executor.run(selectJob, { queue: queueName, id });
  return row ? readJob(row) : null;
}

const selectJobById = statement(
  'find job by id',
  ['id'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`select ${jobColumns(j)} from ${db.jobs.as('j')} where ${j.id} = ${p.id}
      order by ${j.queueName} limit 1`;
  },
  { repeatable: true },
);

export async function findJobById(executor: Executor, id: string): Promise<StoredJob | null> {
  const [row] = await executor.run(selectJobById, { id });
  return row ? readJob(row) : null;
}

const selectKeyHolder = statement(
  'find by deduplication key',
  ['queue', 'key'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`select ${jobColumns(j)} from ${db.jobs.as('j')}
      where ${j.queueName} = ${p.queue} and ${j.deduplicationKey} = ${p.key} and ${holdsKey(j)} and not ${keyExpired(j)}`;
  },
  { repeatable: true },
);

export async function findByDeduplicationKey(
  executor: Executor,
  queueName: string,
  key: string,
): Promise<StoredJob | null> {
  const [row] = await executor.run(selectKeyHolder, { queue: queueName, key });
  return row ? readJob(row) : null;
}

const deleteJob = statement(
  'remove job',
  ['queue', 'id', 'lease'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`delete from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
      and (${p.lease} is null or ${j.lease} = ${p.lease}::int) returning ${columns(j.state)}`;
  },
  { repeatable: true },
);

/** Without a lease: whatever state the job is in. True when there was one to remove. */
export async function removeJob(
  executor: Executor,
  queueName: string,
  id: string,
  lease: number | null,
): Promise<boolean> {
  const rows = await executor.run(deleteJob, { queue: queueName, id, lease });
  return rows.length > 0;
}

const promoteDue = statement('promote due', ['queue', 'until', 'limit'], (db, p) => {
  const j = db.jobs.of('j');
  const due = (time: SQL) => sql`${j.queueName} = ${p.queue} and ${j.state} = 'delayed' and ${j.delayUntil} <= ${time}`;
  const until = sql`coalesce(to_timestamp(${p.until}::float8 / 1000), now())`;
  return sql`
    with due as materialized (
      select ${j.ctid} from ${db.jobs.as('j')} where ${due(until)}
      order by ${j.delayUntil} limit ${p.limit}::int for update skip locked)
    update ${db.jobs.as('j')} set ${db.jobs.col.state} = 'waiting', ${db.jobs.col.delayUntil} = null
    where ${j.ctid} = any(array(select ctid from due)) and ${stillIn(j, 'delayed')}
    returning ${columns(j.id)}`;
});

/** Rows of one promotion statement: many workers share a million due jobs without holding each other up. */
export const PROMOTE_CHUNK = 1_000;

/** One chunk of delayed jobs that are due: by `until` (epoch ms), else by the database's clock. */
export async function promoteChunk(executor: Executor, queueName: string, until: number | null): Promise<string[]> {
  const rows = await executor.run(promoteDue, { queue: queueName, until, limit: PROMOTE_CHUNK });
  return rows.map(([id]) => id as string);
}

const updateProgress = statement(
  'progress',
  ['queue', 'id', 'lease', 'worker', 'progress'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`update ${db.jobs.as('j')} set ${db.jobs.col.progress} = ${p.progress}::float8
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and (${p.lease} is null
        or (${j.lease} = ${p.lease}::int and ${j.lockedBy} = ${p.worker} and ${j.state} = 'active'))
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

export interface Lease {
  readonly lease: number;
  readonly workerId: string;
}

/** False when the job is gone, or the lease is lost. */
export async function setProgress(
  executor: Executor,
  queueName: string,
  id: string,
  progress: number,
  fence: Lease | null,
): Promise<boolean> {
  const rows = await executor.run(updateProgress, {
    queue: queueName,
    id,
    progress,
    lease: fence?.lease ?? null,
    worker: fence?.workerId ?? null,
  });
  return rows.length > 0;
}

/** Newest lines kept per job, because each append rewrites the whole log. */
export const MAX_LOG_LINES = 1_000;

const appendToLog = statement('append to log', ['queue', 'id', 'lease', 'worker', 'lines'], (db, p) => {
  const j = db.jobs.of('j');
  // A column changed by hand may hold anything.
  const logs = sql`(case when jsonb_typeof(${j.logs}) = 'array' then ${j.logs} else '[]'::jsonb end)`;
  const all = sql`(${logs} || ${p.lines}::jsonb)`;
  const over = sql`jsonb_array_length(${logs}) + jsonb_array_length(${p.lines}::jsonb) - ${MAX_LOG_LINES}`;
  return sql`update ${db.jobs.as('j')} set ${db.jobs.col.logs} = case when ${over} <= 0 then ${all} else (
      select coalesce(jsonb_agg(line order by n), '[]'::jsonb)
      from jsonb_array_elements(${all}) with ordinality as l(line, n) where n > ${over}) end
    where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and (${p.lease} is null
      or (${j.lease} = ${p.lease}::int and ${j.lockedBy} = ${p.worker} and ${j.state} = 'active'))
    returning ${columns(j.id)}`;
});

/** Appends; concurrent callers lose nothing. `lines` is the JSON text of an array of strings. */
export async function appendLog(
  executor: Executor,
  queueName: string,
  id: string,
  lines: string,
  fence: Lease | null,
): Promise<boolean> {
  const rows = await executor.run(appendToLog, {
    queue: queueName,
    id,
    lines,
    lease: fence?.lease ?? null,
    worker: fence?.workerId ?? null,
  });
  return rows.length > 0;
}

const cancel = statement(
  'cancel active job',
  ['queue', 'id'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`update ${db.jobs.as('j')} set ${db.jobs.col.cancelledAt} = coalesce(${j.cancelledAt}, ${now})
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${j.state} = 'active' returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/** Marks an active job as cancelled; false when it is not active. */
export async function cancelActive(executor: Executor, queueName: string, id: string): Promise<boolean> {
  return (await executor.run(cancel, { queue: queueName, id })).length > 0;
}

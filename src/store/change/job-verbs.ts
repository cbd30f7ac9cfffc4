import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { instantOf, interval, now } from '../../db/time.js';
import type { Lease } from '../read/find.js';
import { type ChangeAnswer, change, readAnswer } from './change.js';

export type { ChangeAnswer } from './change.js';
export { type CancelAnswer, cancelJob, failOne, removeOne } from './end.js';
export { retryOne } from './retry.js';

const notEnded = (db: Tables) => sql`${alias(db.jobs, 'j').state} not in ('completed', 'failed')`;
const isDelayed = (db: Tables) => sql`${alias(db.jobs, 'j').state} = 'delayed'`;

const promote = change('promote job', [], (db) => ({
  allowed: isDelayed(db),
  set: sql`${bare(db.jobs).state} = 'waiting', ${bare(db.jobs).delayUntil} = null`,
}));

/** A delayed job can run now. */
export async function promoteOne(executor: Executor, queueName: string, id: string): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(promote, { queue: queueName, id }));
}

const redelay = change(
  'change delay',
  ['ms'],
  (db, p) => ({
    allowed: isDelayed(db),
    set: sql`${bare(db.jobs).delayUntil} = ${now} + ${interval(p.ms)}`,
  }),
  { repeatable: true },
);

/** A delayed job runs in `ms` from now, by the database's clock. */
export async function changeDelay(
  executor: Executor,
  queueName: string,
  id: string,
  ms: number,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(redelay, { queue: queueName, id, ms }));
}

const putOff = change('delay job', ['until', 'lease', 'worker'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  return {
    // A cancelled job ends as cancelled: it must not run once more.
    allowed: sql`case when ${p.lease} is null then ${j.state} in ('waiting', 'delayed')
      else ${j.state} = 'active' and ${j.lease} = ${p.lease}::int and coalesce(${j.lockedBy} = ${p.worker}, false)
        and ${j.cancelledAt} is null end`,
    // Put off, it is behind those that were not; and whoever held it must take it anew.
    set: sql`${col.state} = 'delayed', ${col.delayUntil} = ${instantOf(p.until)}, ${col.seq} = ${db.nextSeq},
      ${col.lease} = case when ${j.state} = 'active' then ${j.lease} + 1 else ${j.lease} end,
      ${col.lockUntil} = null, ${col.lockedBy} = null`,
  };
});

/** Puts a waiting or delayed job off until a time (epoch ms), or with a fence the active job that it holds. */
export async function delayOne(
  executor: Executor,
  queueName: string,
  id: string,
  untilMs: number,
  fence: Lease | null,
): Promise<ChangeAnswer> {
  const { lease = null, workerId: worker = null } = fence ?? {};
  return readAnswer(await executor.run(putOff, { queue: queueName, id, until: untilMs, lease, worker }));
}

const reprioritise = change(
  'change priority',
  ['priority'],
  (db, p) => {
    const { opts } = alias(db.jobs, 'j');
    const option = sql`jsonb_build_object('priority', ${p.priority}::int)`;
    return {
      allowed: notEnded(db),
      set: sql`${bare(db.jobs).priority} = ${p.priority}::int,
        ${bare(db.jobs).opts} = case when jsonb_typeof(${opts}) = 'object' then ${opts} || ${option} else ${option} end`,
    };
  },
  { repeatable: true },
);

/** Moves a job that has not ended to another priority; inside it, it keeps its place by age. */
export async function changePriority(
  executor: Executor,
  queueName: string,
  id: string,
  priority: number,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(reprioritise, { queue: queueName, id, priority }));
}

const FENCE = ['lease', 'worker'] as const;

/** Without a fence anybody may; with one only who holds the active job under it. */
function fenced(db: Tables, p: Readonly<Record<(typeof FENCE)[number], SQL>>): SQL {
  const j = alias(db.jobs, 'j');
  return sql`(${p.lease} is null or (${j.state} = 'active' and ${j.lease} = ${p.lease}::int
    and coalesce(${j.lockedBy} = ${p.worker}, false)))`;
}

const fenceValues = (fence: Lease | null) => ({ lease: fence?.lease ?? null, worker: fence?.workerId ?? null });

const replaceData = change(
  'update data',
  ['data', ...FENCE],
  (db, p) => ({
    allowed: sql`${notEnded(db)} and ${fenced(db, p)}`,
    set: sql`${bare(db.jobs).data} = ${p.data}::jsonb`,
  }),
  { repeatable: true },
);

/** Replaces the payload (JSON text) of a job that has not ended; with a fence only while that holds it. */
export async function updateData(
  executor: Executor,
  queueName: string,
  id: string,
  data: string,
  fence: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(replaceData, { queue: queueName, id, data, ...fenceValues(fence) }));
}

const discard = change(
  'discard job',
  [...FENCE],
  (db, p) => ({
    allowed: sql`${notEnded(db)} and ${fenced(db, p)}`,
    set: sql`${bare(db.jobs).discarded} = true`,
  }),
  { repeatable: true },
);

/** No more retries for a job that has not ended; with a fence only while that holds it. */
export async function discardOne(
  executor: Executor,
  queueName: string,
  id: string,
  fence: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(discard, { queue: queueName, id, ...fenceValues(fence) }));
}

const cutLogs = change(
  'clear logs',
  ['keep', ...FENCE],
  (db, p) => {
    const { logs } = alias(db.jobs, 'j');
    return {
      allowed: fenced(db, p),
      set: sql`${bare(db.jobs).logs} = case when jsonb_typeof(${logs}) = 'array' then (
        select coalesce(jsonb_agg(line order by n), '[]'::jsonb) from jsonb_array_elements(${logs}) with ordinality as l(line, n)
        where n > jsonb_array_length(${logs}) - ${p.keep}::int) else '[]'::jsonb end`,
    };
  },
  { repeatable: true },
);

/** Empties a job's log but for its newest `keep` lines; with a fence only while that holds it. */
export async function clearLogs(
  executor: Executor,
  queueName: string,
  id: string,
  keep: number,
  fence: Lease | null = null,
): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(cutLogs, { queue: queueName, id, keep, ...fenceValues(fence) }));
}

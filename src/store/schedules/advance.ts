import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { epochMs, instantOf, now } from '../../db/time.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { insertInput, insertSelect, type JobRecord } from '../add/insert.js';
import { jobsOfTick, NOW_COLUMN, readSchedule, scheduleColumns } from '../rows/schedule-row.js';

const DUE_CHUNK = 100;

const selectDue = statement(
  'due schedules',
  ['queue'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`select ${scheduleColumns(db)} from ${db.schedules} as ${s}
      where ${s.queueName} = ${p.queue} and ${s.tickAt} is not null and ${s.tickAt} <= now()
      order by ${s.tickAt} limit ${sql.raw(String(DUE_CHUNK))}`;
  },
  { repeatable: true },
);

/** Schedules whose tick has passed, and the database's time (epoch ms) at which they were read. */
export async function dueSchedules(
  executor: Executor,
  queueName: string,
): Promise<{ schedules: StoredSchedule[]; now: number }> {
  const rows = await executor.run(selectDue, { queue: queueName });
  return { schedules: rows.map(readSchedule), now: Number(rows[0]?.[NOW_COLUMN] ?? 0) };
}

const advance = statement(
  'advance schedule',
  ['queue', 'key', 'tick', 'next', 'job'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    const col = bare(db.schedules);
    const spent = sql`(${s.runsLeft} is not null and ${s.runsLeft} <= 0)`;
    return sql`
      with moved as (
        update ${db.schedules} as ${s} set
          ${col.tickAt} = case when not ${spent} then ${instantOf(p.next)} end,
          ${col.runsLeft} = case when ${spent} or ${p.next} is null then ${s.runsLeft} else ${s.runsLeft} - 1 end
        where ${s.queueName} = ${p.queue} and ${s.key} = ${p.key}
          and ${epochMs(s.tickAt)} = ${p.tick}::bigint and ${s.tickAt} <= now()
        returning ${s.tickAt} as tick),
      inserted as (
        insert into ${db.jobs} ${insertSelect(db)} from (
          ${insertInput(db, jobsOfTick(p.job, p.key, p.next, sql`moved where tick is not null`))}) x
        on conflict do nothing returning ${bare(db.jobs).id} as id)
      select ${columns(sql`(select id from inserted)`)} from moved`;
  },
  // Compare and set: sent again, it finds that the tick has moved on and does nothing.
  { repeatable: true },
);

export interface Advanced {
  /** False: another process has advanced the schedule. */
  readonly advanced: boolean;
  /** The job of the next tick; null when there is none, or its id or deduplication key is taken. */
  readonly jobId: string | null;
}

/**
 * Called when a tick has passed: inserts the job of the next tick (epoch ms), or ends the schedule if there is none or
 * its limit is reached. Of many callers one succeeds; the schedule and its job change in one statement.
 */
export async function advanceSchedule(
  executor: Executor,
  schedule: StoredSchedule,
  nextTickMs: number | null,
  record: JobRecord | null,
): Promise<Advanced> {
  const [row] = await executor.run(advance, {
    queue: schedule.queueName,
    key: schedule.key,
    tick: schedule.tickAt?.getTime() ?? null,
    next: record && nextTickMs,
    job: record?.json ?? null,
  });
  return { advanced: row !== undefined, jobId: row?.[0] ?? null };
}

const postpone = statement(
  'postpone schedule',
  ['queue', 'key', 'tick'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`update ${db.schedules} as ${s} set ${bare(db.schedules).tickAt} = ${now} + interval '1 hour'
      where ${s.queueName} = ${p.queue} and ${s.key} = ${p.key} and ${epochMs(s.tickAt)} = ${p.tick}::bigint
      returning ${columns(s.key)}`;
  },
  { repeatable: true },
);

/** Postpones by an hour a schedule that cannot be advanced, so that it is not found due over and over. */
export async function postponeSchedule(executor: Executor, schedule: StoredSchedule): Promise<boolean> {
  const { queueName: queue, key, tickAt } = schedule;
  return (await executor.run(postpone, { queue, key, tick: tickAt?.getTime() ?? null })).length > 0;
}

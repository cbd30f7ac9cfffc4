import { type SQL, sql } from 'drizzle-orm';
import { columns, type Row } from '../../db/statement.js';
import { alias, type Tables } from '../../db/tables.js';
import { epochMs, instantOf, statementTime } from '../../db/time.js';
import type { JobOptions } from '../../model/job.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';

export function scheduleColumns(db: Tables): SQL {
  const s = alias(db.schedules, 's');
  return columns(
    s.queueName,
    s.key,
    s.jobName,
    s.data,
    s.opts,
    s.cron,
    s.everyMs,
    s.timezone,
    epochMs(s.startAt),
    epochMs(s.endAt),
    epochMs(s.anchorAt),
    epochMs(s.tickAt),
    s.runsLeft,
    epochMs(s.createdAt),
    epochMs(sql`now()`),
  );
}

/** The database's time, behind the fields of the schedule. */
export const NOW_COLUMN = 14;
const time = (ms: string | null | undefined) => (ms == null ? null : new Date(Number(ms)));
const number = (text: string | null | undefined) => (text == null ? null : Number(text));

export function readSchedule(row: Row): StoredSchedule {
  const [queueName, key, jobName, data, opts, cron, everyMs, tz, start, end, anchor, tick, runsLeft, created] =
    row as string[];
  return {
    queueName: queueName as string,
    key: key as string,
    jobName: jobName as string,
    data: JSON.parse(data as string),
    opts: JSON.parse(opts as string) as JobOptions,
    cron: cron ?? null,
    everyMs: number(everyMs),
    tz: tz ?? null,
    startAt: time(start),
    endAt: time(end),
    anchorAt: time(anchor) as Date,
    tickAt: time(tick),
    runsLeft: number(runsLeft),
    createdAt: time(created) as Date,
  };
}

/** The jobs to insert, as JSON: `record`, delayed until `tickMs` or waiting when that has come, once per row of `from`. */
export function jobsOfTick(record: SQL, key: SQL, tickMs: SQL, from: SQL): SQL {
  const later = sql`${instantOf(tickMs)} > ${statementTime}`;
  return sql`(select jsonb_agg((${record}::jsonb - 'delay_ms') || jsonb_build_object('schedule_key', ${key},
    'state', case when ${later} then 'delayed' else 'waiting' end,
    'delay_until', case when ${later} then ${tickMs}::float8 end)) from ${from})`;
}

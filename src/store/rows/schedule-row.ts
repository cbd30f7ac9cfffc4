import { type SQL, sql } from 'drizzle-orm';
import { columns, type Row } from '../../db/statement.js';
import { alias, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import type { JobOptions } from '../../model/job.js';
import { reviveDates } from '../../model/options/repeat-options.js';
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
  const options = (JSON.parse(opts as string) ?? {}) as JobOptions;
  reviveDates(options);
  return {
    queueName: queueName as string,
    key: key as string,
    jobName: jobName as string,
    data: JSON.parse(data as string),
    opts: options,
    cron: cron ?? null,
    everyMs: number(everyMs),
    tz: tz ?? null,
    startAt: time(start),
    endAt: time(end),
    anchorAt: time(anchor) as Date,
    tickAt: time(tick),
    runsLeft: number(runsLeft),
    overlap: options.repeat?.overlap ?? 'skip',
    createdAt: time(created) as Date,
  };
}

/** The jobs to insert, as JSON: `record`, with the key, state and time (epoch ms, or null) given, once per row of `from`. */
export function jobsOfTicks(record: SQL, key: SQL, state: SQL, untilMs: SQL, from: SQL): SQL {
  return sql`(select jsonb_agg((${record} - 'delay_ms' - 'deduplication_key') || jsonb_build_object(
    'schedule_key', ${key}, 'state', ${state}, 'delay_until', ${untilMs}::float8)) from ${from})`;
}

import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { nextTick } from '../../model/schedule/schedule.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { readSchedule, scheduleColumns } from '../../store/rows/schedule-row.js';
import { PAGE_SIZE, PAGE_TIMEOUT } from './limits.js';

const selectPage = statement(
  'dashboard schedules',
  ['queue', 'afterQueue', 'afterKey', 'limit'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`select ${scheduleColumns(db)} from ${db.schedules} as ${s}
      where (${p.queue} is null or ${s.queueName} = ${p.queue})
        and (${s.queueName}, ${s.key}) > (coalesce(${p.afterQueue}, ''), coalesce(${p.afterKey}, ''))
      order by ${s.queueName}, ${s.key} limit ${p.limit}::bigint`;
  },
  { repeatable: true },
);

export interface SchedulePage {
  readonly schedules: readonly StoredSchedule[];
  readonly hasMore: boolean;
}

/** Schedules of one queue, or of all, by queue and key. */
export async function readSchedules(
  executor: Executor,
  where: { queue: string | null; after: { queue: string; key: string } | null },
): Promise<SchedulePage> {
  const values = {
    queue: where.queue,
    afterQueue: where.after?.queue ?? null,
    afterKey: where.after?.key ?? null,
    limit: PAGE_SIZE + 1,
  };
  const rows = await executor.run(selectPage, values, { timeout: PAGE_TIMEOUT });
  return { schedules: rows.slice(0, PAGE_SIZE).map(readSchedule), hasMore: rows.length > PAGE_SIZE };
}

/** The tick whose job exists already and those that follow it, as far as the schedule goes. */
export function ticksOf(schedule: StoredSchedule, count: number): Date[] {
  if (!schedule.tickAt) return [];
  const { cron, everyMs, tz } = schedule;
  const rule = { cron, everyMs, tz, startAt: ms(schedule.startAt), endAt: ms(schedule.endAt) };
  const most = schedule.runsLeft === null ? count : Math.min(count, schedule.runsLeft + 1);
  const ticks = [schedule.tickAt.getTime()];
  while (ticks.length < most) {
    const next = nextTick(rule, ticks.at(-1)!, schedule.anchorAt.getTime());
    if (next === null) break;
    ticks.push(next);
  }
  return ticks.map((at) => new Date(at));
}

const ms = (time: Date | null): number | null => (time ? time.getTime() : null);

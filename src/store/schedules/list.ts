import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { epochMs, now } from '../../db/time.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { readSchedule, scheduleColumns } from '../rows/schedule-row.js';

export { type Advanced, advanceSchedule, dueSchedules } from './advance.js';
export { type Registration, registerSchedule } from './register.js';
export { tickSchedules } from './tick.js';

const selectTime = statement('time', [], () => sql`select ${columns(epochMs(now))}`, { repeatable: true });

/** The database's clock, in epoch ms. */
export async function databaseTime(executor: Executor): Promise<number> {
  const [row] = await executor.run(selectTime, {});
  return Number(row?.[0]);
}

const selectSchedules = statement(
  'schedules',
  ['queue'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`select ${scheduleColumns(db)} from ${db.schedules} as ${s}
      where ${s.queueName} = ${p.queue} order by ${s.createdAt}, ${s.key}`;
  },
  { repeatable: true },
);

/** The queue's schedules, oldest first. */
export async function listSchedules(executor: Executor, queueName: string): Promise<StoredSchedule[]> {
  return (await executor.run(selectSchedules, { queue: queueName })).map(readSchedule);
}

const deleteSchedule = statement(
  'remove schedule',
  ['queue', 'key'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`delete from ${db.schedules} as ${s} where ${s.queueName} = ${p.queue} and ${s.key} = ${p.key}
      returning ${columns(s.key)}`;
  },
  { repeatable: true },
);

/** Ends a schedule; the job of its next tick stays. False when there is no such schedule. */
export async function removeSchedule(executor: Executor, queueName: string, key: string): Promise<boolean> {
  return (await executor.run(deleteSchedule, { queue: queueName, key })).length > 0;
}

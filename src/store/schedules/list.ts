import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { epochMs, now } from '../../db/time.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { readSchedule, scheduleColumns } from '../rows/schedule-row.js';

export { type Advanced, advanceSchedules, dueSchedules, type Tick } from './advance.js';
export { type Registered, registerSchedule } from './register.js';
export type { Registration } from './registration.js';
export { type RemovedSchedule, removeSchedule } from './remove.js';
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

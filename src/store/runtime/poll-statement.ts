import { type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { leaseExpired } from '../rules/lease.js';

/** What one look at a queue finds; durations in ms from now, negative when overdue, null for none. */
export interface PollResult {
  readonly queueName: string;
  readonly waiting: boolean;
  readonly delayedIn: number | null;
  readonly stalled: boolean;
  readonly tickIn: number | null;
  /** Somewhere a finished job has outlived its `removeOnComplete` or `removeOnFail`. */
  readonly removable: boolean;
}

/**
 * All that a process with nothing to do asks, for all its queues at once; every part is the head of an index. Ordered
 * by that index rather than asked with EXISTS, which may be planned as a scan of the table as long as many rows match,
 * and reads all of it when none do.
 */
export const pollStatement = statement(
  'poll',
  ['queues'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const s = alias(db.schedules, 's');
    const jobs = sql`${db.jobs} as ${j}`;
    const of = sql`${j.queueName} = q.name`;
    const inMs = (time: SQLWrapper) => sql`extract(epoch from ${time} - clock_timestamp()) * 1000`;
    return sql`select ${columns(
      sql`q.name`,
      sql`(select true from ${jobs} where ${of} and ${j.state} = 'waiting'
        order by ${j.priority}, ${j.seq} limit 1) is not null`,
      sql`(select ${inMs(j.delayUntil)} from ${jobs} where ${of} and ${j.state} = 'delayed'
        and ${j.delayUntil} is not null order by ${j.delayUntil} limit 1)`,
      sql`exists (select 1 from ${jobs} where ${of} and ${j.state} = 'active'
        and ${leaseExpired(j)})`,
      sql`(select ${inMs(s.tickAt)} from ${db.schedules} as ${s} where ${s.queueName} = q.name
        and ${s.tickAt} is not null order by ${s.tickAt} limit 1)`,
      sql`(select true from ${jobs} where ${j.removeAt} is not null and ${j.removeAt} < now()
        order by ${j.removeAt} limit 1) is not null`,
    )} from jsonb_array_elements_text(${p.queues}::jsonb) as q(name)`;
  },
  { repeatable: true },
);

export function readPollResult(row: Row): PollResult {
  const [queueName, waiting, delayedIn, stalled, tickIn, removable] = row;
  const ms = (text: string | null | undefined) => (text == null ? null : Number(text));
  return {
    queueName: queueName as string,
    waiting: waiting === 'true',
    delayedIn: ms(delayedIn),
    stalled: stalled === 'true',
    tickIn: ms(tickIn),
    removable: removable === 'true',
  };
}

export async function pollQueues(executor: Executor, queues: readonly string[]): Promise<PollResult[]> {
  if (queues.length === 0) return [];
  return (await executor.run(pollStatement, { queues: JSON.stringify(queues) })).map(readPollResult);
}

import { type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { leaseExpired } from '../rules/lease.js';

/** What is due in one queue. Durations are ms from now, negative when overdue, null when there is none. */
export interface PollResult {
  readonly queueName: string;
  /** A job is waiting. */
  readonly waiting: boolean;
  /** The next delayed job. */
  readonly delayedIn: number | null;
  /** The lease of an active job has expired. */
  readonly stalled: boolean;
  /** A job is active, under whichever worker's lease. */
  readonly active: boolean;
  /** The next tick of a schedule. */
  readonly tickIn: number | null;
  /** A finished job of any queue has expired (`removeOnComplete`, `removeOnFail`). */
  readonly expired: boolean;
}

/**
 * Everything that an idle process asks, for all its queues at once. Each part reads the head of an index. `order by …
 * limit 1` rather than EXISTS, which the planner may turn into a scan of the table while many rows match, and which
 * then reads the whole table once none do.
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
      sql`(select true from ${jobs} where ${of} and ${j.state} = 'active' order by ${j.groupId} limit 1) is not null`,
    )} from jsonb_array_elements_text(${p.queues}::jsonb) as q(name)`;
  },
  { repeatable: true },
);

function readPollResult(row: Row): PollResult {
  const [queueName, waiting, delayedIn, stalled, tickIn, expired, active] = row;
  const ms = (text: string | null | undefined) => (text == null ? null : Number(text));
  return {
    queueName: queueName as string,
    waiting: waiting === 'true',
    delayedIn: ms(delayedIn),
    stalled: stalled === 'true',
    tickIn: ms(tickIn),
    expired: expired === 'true',
    active: active === 'true',
  };
}

/** One result per queue. */
export async function pollQueues(
  executor: Executor,
  queues: readonly string[],
  statement = pollStatement,
): Promise<PollResult[]> {
  return (await executor.run(statement, { queues: JSON.stringify(queues) })).map(readPollResult);
}

/** Not sent again when it fails: that is what a heartbeat is to find out. */
const heartbeatStatement = { ...pollStatement, repeatable: false };

/** The same as the heartbeat of a connection; with no queues it still makes a round trip. */
export const heartbeatPoll = (executor: Executor, queues: readonly string[]): Promise<PollResult[]> =>
  pollQueues(executor, queues, heartbeatStatement);

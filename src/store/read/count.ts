import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias, type Tables } from '../../db/tables.js';
import { JOB_STATES, type JobState } from '../../model/job.js';
import { validateName, validateQueueName } from '../../model/options/names.js';
import type { JobCounts } from '../../model/store-interface.js';
import { inState, perState } from '../rules/states.js';

/** Answered by the partial index of the state alone, without a visit to the table where vacuum keeps up. */
function countOf(db: Tables, queue: SQLWrapper, state: JobState, group?: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const ofGroup = group ? sql` and ${j.groupId} = ${group}` : sql``;
  return sql`(select count(*) from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${inState(j, state)}${ofGroup})`;
}

const countInState = perState((state) =>
  statement(`count ${state}`, ['queue'], (db, p) => sql`select ${columns(countOf(db, p.queue, state))}`, {
    repeatable: true,
  }),
);

const countAll = statement(
  'count states',
  ['queue'],
  (db, p) => sql`select ${columns(...JOB_STATES.map((state) => countOf(db, p.queue, state)))}`,
  { repeatable: true },
);

const countOfGroup = (state: 'active' | 'waiting') =>
  statement(
    `count ${state} of group`,
    ['queue', 'group'],
    (db, p) => sql`select ${columns(countOf(db, p.queue, state, p.group))}`,
    { repeatable: true },
  );
const countActiveOfGroup = countOfGroup('active');
const countWaitingOfGroup = countOfGroup('waiting');

const number = ([row]: Row[]): number => Number(row?.[0]);

export async function countByState(executor: Executor, queueName: string, state: JobState): Promise<number> {
  return number(await executor.run(countInState[state], { queue: validateQueueName(queueName) }));
}

export function countActive(executor: Executor, queueName: string): Promise<number> {
  return countByState(executor, queueName, 'active');
}

export async function countGroupActive(executor: Executor, queueName: string, groupId: string): Promise<number> {
  const params = { queue: validateQueueName(queueName), group: validateName(groupId, 'groupId') };
  return number(await executor.run(countActiveOfGroup, params));
}

export async function countGroupWaiting(executor: Executor, queueName: string, groupId: string): Promise<number> {
  const params = { queue: validateQueueName(queueName), group: validateName(groupId, 'groupId') };
  return number(await executor.run(countWaitingOfGroup, params));
}

/** Exactly the six states. */
export async function countStates(executor: Executor, queueName: string): Promise<JobCounts> {
  const [row] = await executor.run(countAll, { queue: validateQueueName(queueName) });
  return readCounts(row as Row);
}

/** Cells in the order of `JOB_STATES`. */
export function readCounts(cells: Row): JobCounts {
  return Object.fromEntries(JOB_STATES.map((state, i) => [state, Number(cells[i])])) as JobCounts;
}

/**
 * Rounded up to a whole millisecond: at that time, and not a fraction before it, the job is due. In whole
 * microseconds first, because Postgres before 14 extracts a floating-point number. (Cast to numeric, that would keep 15
 * digits only.)
 */
const selectNextDelayed = statement(
  'next delayed',
  ['queue'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${columns(sql`ceil(round(extract(epoch from ${j.delayUntil}) * 1000000)::bigint / 1000.0)`)}
      from ${db.jobs} as ${j}
      where ${j.queueName} = ${p.queue} and ${j.state} = 'delayed' and ${j.delayUntil} is not null
      order by ${j.delayUntil} limit 1`;
  },
  { repeatable: true },
);

/** Epoch ms at which the first delayed job comes due. */
export async function nextDelayed(executor: Executor, queueName: string): Promise<number | null> {
  const [row] = await executor.run(selectNextDelayed, { queue: validateQueueName(queueName) });
  return row ? Number(row[0]) : null;
}

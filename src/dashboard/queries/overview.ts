import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias, literal, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { JOB_STATES, type JobState } from '../../model/job.js';
import { queueNames } from '../../store/read/queues.js';
import { leaseExpired } from '../../store/rules/lease.js';
import { ALL_NAMES } from '../../store/rules/metrics-buckets.js';
import { inState } from '../../store/rules/states.js';
import { COUNT_CAP, MAX_QUEUES, PAGE_TIMEOUT } from './limits.js';

/** Distinct priorities whose heads are looked at for the oldest wait. */
const MAX_PRIORITIES = 20;
/** Active jobs that are looked at for workers and expired leases. */
const MAX_ACTIVE = 2_000;

export interface QueueSummary {
  readonly name: string;
  /** Counted up to `COUNT_CAP + 1`. */
  readonly counts: Readonly<Record<JobState, number>>;
  readonly paused: boolean;
  /** Names of jobs that are paused on their own. */
  readonly pausedNames: number;
  /** When the oldest of the jobs that are next in line was added. */
  readonly oldestWaiting: Date | null;
  /** Different workers that hold a lease. */
  readonly workers: number;
  /** Active jobs whose lease has expired. */
  readonly expired: number;
}

function bounded(db: Tables, queue: SQLWrapper, state: JobState): SQL {
  const j = alias(db.jobs, 'j');
  return sql`(select count(*) from (select 1 from ${db.jobs} as ${j}
    where ${j.queueName} = ${queue} and ${inState(j, state)} limit ${literal(COUNT_CAP + 1)}) counted)`;
}

/**
 * The oldest job among the heads of each priority: first in, first out means that no other waits for longer. `lifo` jobs
 * have negative places in line, of which the last one is the oldest.
 */
function oldestWaiting(db: Tables, queue: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const of = sql`from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${inState(j, 'waiting')}`;
  const first = (where: SQL) => sql`(select ${j.priority} ${of} ${where} order by ${j.priority} limit 1)`;
  return sql`(
    with recursive p(priority, n) as (
      select ${first(sql``)}, 1
      union all
      select ${first(sql`and ${j.priority} > p.priority`)}, p.n + 1 from p
      where p.priority is not null and p.n < ${literal(MAX_PRIORITIES)})
    select min(least(
      (select ${j.createdAt} ${of} and ${j.priority} = p.priority and ${j.seq} >= 0 order by ${j.seq} limit 1),
      (select ${j.createdAt} ${of} and ${j.priority} = p.priority and ${j.seq} < 0 order by ${j.seq} desc limit 1)))
    from p where p.priority is not null)`;
}

function paused(db: Tables, queue: SQLWrapper, how: SQL): SQL {
  const n = alias(db.pausedNames, 'n');
  return sql`(select count(*) from ${db.pausedNames} as ${n}
    where ${n.queueName} = ${queue} and ${n.jobName} ${how} ${literal(ALL_NAMES)})`;
}

/** Of all queues, or of one: also of those that have nothing but schedules or a pause. */
const selectSummaries = statement(
  'dashboard queues',
  ['queue'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const n = alias(db.pausedNames, 'n');
    const s = alias(db.schedules, 's');
    const name = sql`listed.name`;
    return sql`
      with recursive ${queueNames(db)},
      names(name) as (
        select ${p.queue} where ${p.queue} is not null
        union
        (select name from (
          select name from q where name is not null
          union select ${n.queueName} from ${db.pausedNames} as ${n}
          union select ${s.queueName} from ${db.schedules} as ${s}    ) found
        where ${p.queue} is null order by name limit ${literal(MAX_QUEUES)}))
      select ${columns(
        name,
        ...JOB_STATES.map((state) => bounded(db, name, state)),
        paused(db, name, sql`=`),
        paused(db, name, sql`<>`),
        epochMs(oldestWaiting(db, name)),
        sql`a.workers`,
        sql`a.expired`,
      )}
      from names listed cross join lateral (
        select count(distinct by) as workers, count(*) filter (where expired) as expired from (
          select ${j.lockedBy} as by, ${leaseExpired(j)} as expired from ${db.jobs} as ${j}
          where ${j.queueName} = ${name} and ${inState(j, 'active')} limit ${literal(MAX_ACTIVE)}) held) a
      order by listed.name`;
  },
  { repeatable: true },
);

function readSummary(row: Row): QueueSummary {
  const cells = row as string[];
  const [pausedAll, pausedNames, oldest, workers, expired] = cells.slice(1 + JOB_STATES.length);
  return {
    name: cells[0]!,
    counts: Object.fromEntries(JOB_STATES.map((state, i) => [state, Number(cells[i + 1])])) as QueueSummary['counts'],
    paused: Number(pausedAll) > 0,
    pausedNames: Number(pausedNames),
    oldestWaiting: oldest == null ? null : new Date(Number(oldest)),
    workers: Number(workers),
    expired: Number(expired),
  };
}

/** The first `MAX_QUEUES` queues, by name. */
export async function readSummaries(executor: Executor): Promise<QueueSummary[]> {
  return (await executor.run(selectSummaries, { queue: null }, { timeout: PAGE_TIMEOUT })).map(readSummary);
}

/** One queue, whether it has jobs or not. */
export async function readSummaryOf(executor: Executor, queue: string): Promise<QueueSummary> {
  const [row] = await executor.run(selectSummaries, { queue }, { timeout: PAGE_TIMEOUT });
  return readSummary(row as Row);
}

const selectNames = statement(
  'dashboard queue names',
  [],
  (db) => {
    const n = alias(db.pausedNames, 'n');
    const s = alias(db.schedules, 's');
    return sql`
      with recursive ${queueNames(db)}
      select ${columns(sql`found.name`)} from (
        select name from q where name is not null
        union select ${n.queueName} from ${db.pausedNames} as ${n}
        union select ${s.queueName} from ${db.schedules} as ${s}    ) found
      order by found.name limit ${literal(MAX_QUEUES)}`;
  },
  { repeatable: true },
);

export async function readQueueNames(executor: Executor): Promise<string[]> {
  const rows = await executor.run(selectNames, {}, { timeout: PAGE_TIMEOUT });
  return rows.map(([name]) => name as string);
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias, literal, type Tables } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { JOB_STATES, type JobState } from '../../model/job.js';
import type { QueueInfo } from '../../model/store-interface.js';
import { ALL_NAMES } from '../rules/metrics-buckets.js';
import { finishTime, inState } from '../rules/states.js';
import { readCounts } from './count.js';

/** Counting the finished jobs of all queues takes as long as there are many. */
const LIST_QUEUES_TIMEOUT = 15_000;

/** `n`, `latest` and `scheduled` of one state: every live job is read. */
function liveJobs(db: Tables, state: JobState): SQL {
  const j = alias(db.jobs, 'j');
  const repeats = sql`${j.scheduleKey} is not null or jsonb_typeof(${j.opts} -> 'repeat') = 'object'`;
  return sql`select count(*) as n, max(greatest(${j.createdAt}, ${j.processedAt})) as latest,
      count(*) filter (where ${repeats}) as scheduled
    from ${db.jobs} as ${j} where ${j.queueName} = q.name and ${inState(j, state)}`;
}

/**
 * The same of an end state, from its index: it counts them, and the newest finish is its last entry. That a finished
 * job was created or taken up after the newest finish is seen only for that one job; to look at all of them would be
 * to read the table. (OFFSET 0: taken apart by the planner it would run once for each mention of its columns.)
 */
function endedJobs(db: Tables, state: JobState): SQL {
  const j = alias(db.jobs, 'j');
  const finish = finishTime(j, state) as SQL;
  const of = sql`${j.queueName} = q.name and ${inState(j, state)}`;
  return sql`select (select count(*) from ${db.jobs} as ${j} where ${of}) as n, greatest(
      (select greatest(${finish}, ${j.createdAt}, ${j.processedAt}) from ${db.jobs} as ${j}
        where ${of} and ${finish} is not null order by ${finish} desc, ${j.seq} desc limit 1),
      (select max(greatest(${j.createdAt}, ${j.processedAt})) from ${db.jobs} as ${j}
        where ${of} and ${finish} is null)) as latest,
    0::bigint as scheduled offset 0`;
}

/**
 * `q(name)`, a recursive table of the queues that have jobs, ended by a null: by a skip scan of each state's index, a few
 * probes per queue, however many jobs it has.
 */
export function queueNames(db: Tables): SQL {
  const j = alias(db.jobs, 'j');
  const first = (after: SQLWrapper) =>
    sql`least(${sql.join(
      JOB_STATES.map(
        (state) => sql`(select ${j.queueName} from ${db.jobs} as ${j} where ${inState(j, state)}${after}
            order by ${j.queueName} limit 1)`,
      ),
      sql`, `,
    )})`;
  return sql`q(name) as (
        select ${first(sql``)}
        union all
        select ${first(sql` and ${j.queueName} > q.name`)} from q where q.name is not null)`;
}

const selectQueues = statement(
  'list queues',
  [],
  (db) => {
    const n = alias(db.pausedNames, 'n');
    const name = (i: number) => sql.raw(`s${i}`);
    const each = (of: (table: SQLWrapper) => SQL, separator: SQLWrapper) =>
      sql.join(
        JOB_STATES.map((_, i) => of(name(i))),
        separator,
      );
    const laterals = JOB_STATES.map(
      (state, i) =>
        sql`cross join lateral (${state === 'completed' || state === 'failed' ? endedJobs(db, state) : liveJobs(db, state)}) ${name(i)}`,
    );
    return sql`
      with recursive ${queueNames(db)}
      select ${columns(
        sql`q.name`,
        ...JOB_STATES.map((_, i) => sql`${name(i)}.n`),
        sql`exists (select 1 from ${db.pausedNames} as ${n}
          where ${n.queueName} = q.name and ${n.jobName} = ${literal(ALL_NAMES)})`,
        epochMs(sql`greatest(${each((s) => sql`${s}.latest`, sql`, `)})`),
        each((s) => sql`${s}.scheduled`, sql` + `),
      )}
      from q ${sql.join(laterals, sql` `)}
      where q.name is not null order by q.name`;
  },
  { repeatable: true },
);

/** Every queue that has jobs, by name. */
export async function listQueues(executor: Executor): Promise<QueueInfo[]> {
  const rows = await executor.run(selectQueues, {}, { timeout: LIST_QUEUES_TIMEOUT });
  return rows.map(readQueue);
}

function readQueue(row: Row): QueueInfo {
  const [isPaused, latest, scheduled] = row.slice(1 + JOB_STATES.length);
  return {
    name: row[0] as string,
    counts: readCounts(row.slice(1)),
    isPaused: isPaused === 'true',
    latestActivity: latest == null ? null : new Date(Number(latest)),
    scheduledCount: Number(scheduled),
  };
}

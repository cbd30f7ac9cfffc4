import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import type { JobData } from '../../model/job.js';
import { jobColumns, readJob } from '../rows/job-row.js';
import type { StoredJob } from '../rows/stored-job.js';
import { holdsKey, keyExpired } from '../rules/deduplication.js';

const selectJob = statement(
  'get job',
  ['queue', 'id'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${jobColumns(j)} from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  },
  { repeatable: true },
);

export async function getJob(executor: Executor, queueName: string, id: string): Promise<StoredJob | null> {
  const [row] = await executor.run(selectJob, { queue: queueName, id });
  return row ? readJob(row) : null;
}

const selectJobs = statement(
  'get jobs',
  ['queue', 'ids'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${jobColumns(j)} from ${db.jobs} as ${j}
      where ${j.queueName} = ${p.queue} and ${j.id} = any(array(select jsonb_array_elements_text(${p.ids}::jsonb)))`;
  },
  { repeatable: true },
);

/** Those of the queue's jobs that are there, by their ids. */
export async function getJobs(
  executor: Executor,
  queueName: string,
  ids: readonly string[],
): Promise<Map<string, StoredJob>> {
  if (ids.length === 0) return new Map();
  const rows = await executor.run(selectJobs, { queue: queueName, ids: JSON.stringify(ids) });
  return new Map(rows.map((row) => readJob(row)).map((stored) => [stored.job.id, stored]));
}

const selectJobById = statement(
  'find job by id',
  ['id'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${jobColumns(j)} from ${db.jobs} as ${j} where ${j.id} = ${p.id} order by ${j.queueName} limit 1`;
  },
  { repeatable: true },
);

export async function findJobById(executor: Executor, id: string): Promise<StoredJob | null> {
  const [row] = await executor.run(selectJobById, { id });
  return row ? readJob(row) : null;
}

const selectKeyHolder = statement(
  'find by deduplication key',
  ['queue', 'key'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${jobColumns(j)} from ${db.jobs} as ${j}
      where ${j.queueName} = ${p.queue} and ${j.deduplicationKey} = ${p.key} and ${holdsKey(j)} and not ${keyExpired(j)}`;
  },
  { repeatable: true },
);

/** The live job that holds a deduplication key. */
export async function findByDeduplicationKey(
  executor: Executor,
  queueName: string,
  key: string,
): Promise<StoredJob | null> {
  const [row] = await executor.run(selectKeyHolder, { queue: queueName, key });
  return row ? readJob(row) : null;
}

const selectChildren = statement(
  'children',
  ['queue', 'id'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${jobColumns(j)} from ${db.jobs} as ${j}
      where ${j.parentId} = ${p.id} and ${j.parentQueueName} = ${p.queue} order by ${j.createdAt}, ${j.seq}`;
  },
  { repeatable: true },
);

/** The job's children in any queue and state, oldest first. */
export async function getChildrenJobs(executor: Executor, queueName: string, id: string): Promise<JobData[]> {
  return (await executor.run(selectChildren, { queue: queueName, id })).map((row) => readJob(row).job);
}

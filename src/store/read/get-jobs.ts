import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { jobColumns, readJob, type StoredJob } from '../rows/job-row.js';

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

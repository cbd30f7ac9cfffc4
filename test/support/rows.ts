import type postgres from 'postgres';
import type { JobState, NewJobData } from '../../src/model/job.js';

export type NamedJob = NewJobData & { id: string };

/** A job to save, with what a job in that state has; `fields` override it. */
export function jobIn(state: JobState, fields: Partial<NewJobData> & { id: string }): NamedJob;
export function jobIn(state: JobState, fields?: Partial<NewJobData>): NewJobData;
export function jobIn(state: JobState, fields: Partial<NewJobData> = {}): NewJobData {
  const now = Date.now();
  const begun = state === 'active' || state === 'completed' || state === 'failed';
  return {
    name: 'job',
    queueName: '',
    data: null,
    state,
    attemptsMade: state === 'failed' ? 1 : 0,
    progress: 0,
    returnvalue: null,
    failedReason: state === 'failed' ? 'on purpose' : null,
    opts: {},
    deduplicationKey: null,
    logs: [],
    stacktrace: state === 'failed' ? ['Error: on purpose'] : [],
    createdAt: new Date(now),
    processedAt: begun ? new Date(now) : null,
    completedAt: state === 'completed' ? new Date(now) : null,
    failedAt: state === 'failed' ? new Date(now) : null,
    delayUntil: state === 'delayed' ? new Date(now + 3_600_000) : null,
    lockUntil: state === 'active' ? new Date(now + 60_000) : null,
    cancelledAt: null,
    lockedBy: state === 'active' ? 'worker-1' : null,
    parentId: null,
    parentQueueName: null,
    pendingChildrenCount: state === 'waiting-children' ? 1 : 0,
    groupId: null,
    discarded: false,
    childrenIds: [],
    attemptLogs: [],
    ...fields,
  };
}

/** A child of `parent`: waiting and in the parent's queue, unless `fields` say otherwise. */
export function childOf(
  parent: { queueName: string; id: string },
  id: string,
  fields: Partial<NewJobData> = {},
): NamedJob {
  const family = { queueName: parent.queueName, parentId: parent.id, parentQueueName: parent.queueName };
  return jobIn(fields.state ?? 'waiting', { ...family, ...fields, id });
}

/** A job as `saveFlow` takes it. */
export const inFlow = (job: NewJobData) => ({ queueName: job.queueName, job });

/** The parent, waiting for these children, and the children, as `saveFlow` takes them. */
export function flowOf(parent: NamedJob, children: NamedJob[]) {
  const waiting: NamedJob = {
    ...parent,
    state: 'waiting-children',
    pendingChildrenCount: children.length,
    childrenIds: children.map(({ id }) => id),
  };
  return [waiting, ...children].map(inFlow);
}

let queues = 0;

/** A queue that no other test of the file uses. */
export function newQueue(label = 'queue'): string {
  return `${label}-${++queues}`;
}

/** One row, written straight to the table, so that it can be part of a transaction of the test; by column names. */
export async function insertRow(
  sql: postgres.ISql,
  row: { queue_name: string; id: string } & Record<string, string | number | null>,
): Promise<void> {
  const all = { name: 'job', data: 1, state: 'waiting', ...row };
  await sql`insert into conveyor_jobs ${sql(all)}`;
}

/**
 * Many rows in one statement, written straight to the table: for plans and chunks, where saving them would take long.
 * `columns` are SQL expressions by column name, in which `i` counts from 1.
 */
export async function insertRows(
  sql: postgres.Sql | postgres.TransactionSql,
  queueName: string,
  count: number,
  columns: Record<string, string> = {},
): Promise<void> {
  const all = {
    queue_name: `'${queueName.replaceAll("'", "''")}'`,
    id: `'row-' || i`,
    name: `'job'`,
    data: `'null'::jsonb`,
    state: `'waiting'`,
    ...columns,
  };
  await sql.unsafe(
    `insert into conveyor_jobs (${Object.keys(all).join(', ')})
     select ${Object.values(all).join(', ')} from generate_series(1, ${count}) as i`,
  );
}

import type postgres from 'postgres';
import type { JobState, NewJobData } from '../../src/model/job.js';

/** A job to save, in the state it is needed in, with what a job in that state has; `fields` goes over it. */
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

let queues = 0;

/** A queue that no other test of the file uses. */
export function newQueue(label = 'queue'): string {
  return `${label}-${++queues}`;
}

/**
 * Many rows at once, straight into the table: for plans and chunks, where saving them would take long. `columns` are
 * SQL expressions by column name, in which `i` counts from 1.
 */
export async function insertRows(
  sql: postgres.Sql,
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

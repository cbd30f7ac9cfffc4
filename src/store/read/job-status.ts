import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import type { JobState } from '../../model/job.js';

export interface JobKey {
  readonly queueName: string;
  readonly id: string;
}

/** What a waiter needs to know about a job. */
export interface JobStatus {
  /** `missing`: there is no such job. */
  readonly state: JobState | 'missing';
  readonly returnvalue: unknown;
  readonly failedReason: string | null;
  readonly cancelled: boolean;
  /** 0 to 100. */
  readonly progress: number;
  /** Attempts that have failed. */
  readonly attemptsMade: number;
}

const MISSING: JobStatus = {
  state: 'missing',
  returnvalue: null,
  failedReason: null,
  cancelled: false,
  progress: 0,
  attemptsMade: 0,
};

const selectStatus = statement(
  'job status',
  ['jobs'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const status = [j.state, j.returnvalue, j.failedReason, epochMs(j.cancelledAt), j.progress, j.attemptsMade];
    return sql`select ${columns(sql`k.q`, sql`k.id`, ...status)}
      from jsonb_to_recordset(${p.jobs}::jsonb) as k(q text, id text)
      join ${db.jobs} as ${j} on ${j.queueName} = k.q and ${j.id} = k.id`;
  },
  { repeatable: true },
);

/** The status of each job, in the order of the keys; they may be of several queues. */
export async function readJobStatus(executor: Executor, keys: readonly JobKey[]): Promise<JobStatus[]> {
  const jobs = JSON.stringify(keys.map(({ queueName, id }) => ({ q: queueName, id })));
  const rows = await executor.run(selectStatus, { jobs });
  const found = new Map<string, JobStatus>();
  for (const [queueName, id, state, returnvalue, failedReason, cancelledAt, progress, attemptsMade] of rows) {
    found.set(`${queueName}\n${id}`, {
      state: state as JobState,
      returnvalue: returnvalue == null ? null : JSON.parse(returnvalue),
      failedReason: failedReason ?? null,
      cancelled: cancelledAt != null,
      progress: Number(progress),
      attemptsMade: Number(attemptsMade),
    });
  }
  return keys.map(({ queueName, id }) => found.get(`${queueName}\n${id}`) ?? MISSING);
}

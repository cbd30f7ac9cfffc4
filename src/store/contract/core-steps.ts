import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { now } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { cleanText } from '../../model/payload/values.js';
import { childFailed, countDown } from '../rules/parents.js';
import { expiresAt, keepMs } from '../rules/retention.js';

/** Single steps that the original core takes one after the other, where ours ends a job in one statement. */

const countChildDown = statement('count child down', ['queue', 'id'], (db, p) => {
  const j = alias(db.jobs, 'j');
  return sql`update ${db.jobs} as ${j} set ${countDown(db, j, sql`1`)}
    where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${j.state} = 'waiting-children'
    returning ${columns(j.state)}`;
});

/**
 * One child of the job has ended; answers with the state that this makes. By the counter alone: the caller says so
 * once per child. `completed` when there is nothing that waits for children.
 */
export async function notifyChildCompleted(executor: Executor, queueName: string, id: string): Promise<JobState> {
  const [row] = await executor.run(countChildDown, { queue: queueName, id });
  return (row?.[0] ?? 'completed') as JobState;
}

const failForChild = statement('fail for child', ['queue', 'id', 'reason'], (db, p) => {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  return sql`update ${db.jobs} as ${j} set ${col.state} = 'failed', ${col.failedAt} = ${now},
      ${col.failedReason} = ${childFailed(p.reason)}, ${col.delayUntil} = null,
      ${col.removeAt} = ${expiresAt(keepMs(j.opts, 'failed'))}
    where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${j.state} = 'waiting-children'
    returning ${columns(j.id)}`;
});

/** Fails a job that waits for children, whatever its policy; false when it does not wait for any. */
export async function failParent(executor: Executor, queueName: string, id: string, reason: string): Promise<boolean> {
  const rows = await executor.run(failForChild, { queue: queueName, id, reason: cleanText(String(reason)) });
  return rows.length > 0;
}

const markCancelled = statement(
  'cancel active job',
  ['queue', 'id'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`update ${db.jobs} as ${j} set ${bare(db.jobs).cancelledAt} = coalesce(${j.cancelledAt}, ${now})
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${j.state} = 'active' returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/** Marks an active job as cancelled; false when it is not active. */
export async function cancelActive(executor: Executor, queueName: string, id: string): Promise<boolean> {
  return (await executor.run(markCancelled, { queue: queueName, id })).length > 0;
}

import type postgres from 'postgres';
import { createJobData } from '../../src/model/create-job-data.js';
import type { JobData, NewJobData } from '../../src/model/job.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { type HeldTransaction, openTransaction } from '../support/held.js';

/** A job to be saved, in whatever state a test needs it. */
export function makeJob(queueName: string, id: string, fields: Partial<JobData> = {}): NewJobData & { id: string } {
  return { ...createJobData(queueName, 'work', { n: 1 }, fields.opts), ...fields, id };
}

/** A child of `parent` in the same queue, unless it says otherwise. */
export function makeChild(
  parent: { queueName: string; id: string },
  id: string,
  fields: Partial<JobData> = {},
): NewJobData & { id: string } {
  const queueName = fields.queueName ?? parent.queueName;
  return makeJob(queueName, id, { parentId: parent.id, parentQueueName: parent.queueName, ...fields, queueName });
}

export const inFlow = (job: NewJobData) => ({ queueName: job.queueName, job });

/** A parent that waits for these children, and the children, as a flow. */
export function makeFlow(parent: NewJobData & { id: string }, children: (NewJobData & { id: string })[]) {
  const waiting = {
    ...parent,
    state: 'waiting-children' as const,
    pendingChildrenCount: children.length,
    childrenIds: children.map(({ id }) => id),
  };
  return [waiting, ...children].map(inFlow);
}

export async function openStore(url: string, more: { metrics?: boolean } = {}): Promise<PgStore> {
  const store = new PgStore({
    connection: url,
    autoMigrate: false,
    listen: false,
    metrics: { enabled: more.metrics ?? false },
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  await store.connect();
  return store;
}

/** Somebody else is about to change a job: its row is locked by a transaction on a connection of its own. */
export async function lockRow(sql: postgres.Sql, queueName: string, id: string): Promise<HeldTransaction> {
  const held = await openTransaction(sql);
  await held.sql`select 1 from conveyor_jobs where queue_name = ${queueName} and id = ${id} for update`;
  return held;
}

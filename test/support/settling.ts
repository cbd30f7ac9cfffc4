/** Claiming and settling by the statements themselves, without a worker. */
import type postgres from 'postgres';
import { claim } from '../../src/store/claim/claim.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import type { StoredJob } from '../../src/store/rows/stored-job.js';
import { type Settlement, settle } from '../../src/store/settle/settle.js';

const WORKER = 'w';

/** Claims up to `limit` jobs for worker `w`; they are in the order of the claim. */
export function claimSome(store: PgStore, queueName: string, limit: number): Promise<StoredJob[]> {
  return claim(store.engine.executor, { queueName, workerId: WORKER, lockDuration: 60_000, limit });
}

/** Claims all jobs of the queue; by their ids. */
export async function claimAll(store: PgStore, queueName: string): Promise<Map<string, StoredJob>> {
  const jobs = await claimSome(store, queueName, 1_000);
  return new Map(jobs.map((stored) => [stored.job.id, stored]));
}

/** The settlement of a claimed job: completed with 1, else for the reason "boom". */
export function endOf(
  stored: StoredJob | undefined,
  kind: Settlement['kind'],
  more: Partial<Settlement> = {},
): Settlement {
  if (!stored) throw new Error('the job was not claimed');
  const { job, lease } = stored;
  const base = {
    queueName: job.queueName,
    id: job.id,
    lease,
    workerId: WORKER,
    kind,
    hasParent: job.parentId !== null,
  };
  return { ...base, ...(kind === 'completed' ? { returnvalue: '1' } : { reason: 'boom' }), ...more };
}

/** Where the rows of a queue's jobs are, by their ids. */
export async function placesIn(sql: postgres.Sql, queueName: string): Promise<Map<string, string>> {
  const rows = await sql<{ id: string; place: string }[]>`
    select id, ctid::text as place from conveyor_jobs where queue_name = ${queueName}`;
  return new Map(rows.map(({ id, place }) => [id, place]));
}

/** Settles a batch in one statement, without metrics. */
export const settleWith = (store: PgStore, ...batch: Settlement[]) =>
  settle(store.engine.executor, batch, { metrics: false, shard: 0 });

/** The states of all jobs, by their ids. */
export async function statesOf(sql: postgres.Sql): Promise<Record<string, string>> {
  const rows = await sql<{ id: string; state: string }[]>`select id, state from conveyor_jobs`;
  return Object.fromEntries(rows.map(({ id, state }) => [id, state]));
}

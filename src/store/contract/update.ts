import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { interval, now } from '../../db/time.js';
import { InvalidJobStateError, LeaseLostError } from '../../model/errors.js';
import type { JobData, JobState } from '../../model/job.js';
import { assertJobState } from '../../model/options/names.js';
import type { UpdateJobOptions } from '../../model/store-interface.js';
import { retryOnKeyConflict } from '../rules/deduplication.js';
import type { Engine } from '../runtime/engine.js';
import type { KnownLeases, LeaseMemory } from './lease-memory.js';
import { encodeUpdates } from './update-fields.js';
import { mergeIntoJob } from './update-statement.js';

const UNKNOWN: KnownLeases = { claimed: undefined, stalled: undefined };

/**
 * Merges fields into a job, by its id alone; fenced by what the store remembers about it.
 *
 * @throws InvalidJobStateError when it is not in the expected state; LeaseLostError when this store has claimed it
 * and another worker holds it by now
 */
export async function updateJob(
  engine: Engine,
  fences: LeaseMemory,
  queueName: string,
  id: string,
  updates: Partial<JobData>,
  options: UpdateJobOptions,
): Promise<void> {
  const json = encodeUpdates(updates, { queueName, id }, engine.options.maxPayloadBytes);
  const expected = options.expectedState === undefined ? null : [options.expectedState].flat();
  for (const state of expected ?? []) assertJobState(state);
  // A caller that expects any other state does not act as the job's worker.
  const known = expected === null || expected.includes('active') ? fences.get(queueName, id) : UNKNOWN;
  const metrics = engine.options.metrics.enabled;
  const [row] = await retryOnKeyConflict((drop) =>
    engine.executor.run(mergeIntoJob, {
      queue: queueName,
      id,
      updates: json,
      expected: expected && JSON.stringify(expected),
      claimed: known.claimed ?? null,
      stalled: known.stalled ?? null,
      shard: metrics ? engine.shard : null,
      drop,
    }),
  );
  const sweeping = known.stalled !== undefined && (known.claimed === undefined || updates.state === 'waiting');
  const lost = known.claimed !== undefined && !sweeping;
  if (!row) {
    if (lost) throw new LeaseLostError(id, queueName);
    return;
  }
  const [before, isExpected, held, after, until] = row as string[];
  if (isExpected === 'false') throw new InvalidJobStateError(id, before as JobState, expected as JobState[]);
  if (held === 'false') {
    if (lost) throw new LeaseLostError(id, queueName);
    return;
  }
  if (before === 'active' && after !== 'active') fences.left(queueName, id, after as string);
  if (after === 'waiting' && before !== 'waiting') engine.notifier.wake(queueName);
  if (after === 'delayed' && until != null) engine.notifier.wake(queueName, Number(until) - Date.now());
}

const prolong = statement(
  'extend lock',
  ['queue', 'id', 'lease', 'lock'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`update ${db.jobs} as ${j} set ${bare(db.jobs).lockUntil} = ${now} + ${interval(p.lock)}
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${j.state} = 'active'
        and (${p.lease} is null or ${j.lease} = ${p.lease}::int)
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/** False when the job is not active, or not under the lease that this store handed it out with. */
export async function extendLock(
  executor: Executor,
  fences: LeaseMemory,
  queueName: string,
  id: string,
  ms: number,
): Promise<boolean> {
  const lease = fences.get(queueName, id).claimed ?? null;
  return (await executor.run(prolong, { queue: queueName, id, lease, lock: ms })).length > 0;
}

const unlock = statement(
  'release lock',
  ['queue', 'id', 'lease'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const col = bare(db.jobs);
    return sql`update ${db.jobs} as ${j} set ${col.lockUntil} = null, ${col.lockedBy} = null
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
        and (${p.lease} is null or ${j.lease} = ${p.lease}::int)
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/**
 * Often called once more after a job has ended: then it must not release the lock of another worker.
 *
 * @throws LeaseLostError when this store has claimed the job and another worker holds it by now
 */
export async function releaseLock(
  executor: Executor,
  fences: LeaseMemory,
  queueName: string,
  id: string,
): Promise<void> {
  const { claimed } = fences.get(queueName, id);
  const lease = claimed ?? fences.ended(queueName, id) ?? null;
  const rows = await executor.run(unlock, { queue: queueName, id, lease });
  if (rows.length === 0 && claimed !== undefined) throw new LeaseLostError(id, queueName);
}

const removeUnderLease = statement(
  'remove under lease',
  ['queue', 'id', 'lease'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`
      with deleted as (
        delete from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
          and (${p.lease} is null or ${j.lease} = ${p.lease}::int) returning 1)
      select ${columns(sql`(select count(*) from deleted)`)} from ${db.jobs} as ${j}
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  },
  { repeatable: true },
);

/**
 * Deletes a job; a missing one is no error. Its parent is not counted down: callers of this contract do that themselves.
 *
 * @throws LeaseLostError when this store has claimed the job and another worker holds it by now
 */
export async function removeFenced(
  executor: Executor,
  fences: LeaseMemory,
  queueName: string,
  id: string,
): Promise<void> {
  const lease = fences.get(queueName, id).claimed ?? null;
  const [row] = await executor.run(removeUnderLease, { queue: queueName, id, lease });
  if (row?.[0] === '0' && lease !== null) throw new LeaseLostError(id, queueName);
  fences.forget(queueName, id);
}

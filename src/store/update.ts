import { type SQL, sql } from 'drizzle-orm';
import { isDeduplicationConflict } from '../db/driver-errors.js';
import type { Executor } from '../db/executor.js';
import type { Relations } from '../db/relation.js';
import { columns, epochMs, interval, now, type Row, statement } from '../db/statement.js';
import { InvalidJobStateError, LeaseLostError } from '../model/errors.js';
import type { JobData, JobState } from '../model/job.js';
import { assertJobState } from '../model/names.js';
import type { UpdateJobOptions } from '../model/store-interface.js';
import type { Engine } from './engine.js';
import type { Fences, Known } from './fences.js';
import { holdsKey } from './insert.js';
import { countMetrics } from './metrics.js';
import { encodeUpdates, merged, plainAssignments } from './update-fields.js';

const ended = (state: SQL) => sql`${state} in ('completed', 'failed')`;

/** The key after the update: a job that comes back to life gives its own up when somebody else holds it by now. */
function keyAfter(db: Relations, drop: SQL): SQL {
  const j = db.jobs.of('j');
  const h = db.jobs.of('h');
  const key = merged(db, 'deduplicationKey');
  return sql`case when ${key} is null or ${ended(merged(db, 'state'))}
      or (not ${ended(j.state)} and ${key} = ${j.deduplicationKey}) then ${key}
    when ${drop} is not null or exists (select 1 from ${db.jobs.as('h')}
      where ${h.queueName} = ${j.queueName} and ${h.deduplicationKey} = ${key} and ${h.id} <> ${j.id} and ${holdsKey(h)})
    then null else ${key} end`;
}

/** When the ended job is deleted: `removeOnComplete` or `removeOnFail` in ms, from the moment it ends. */
function removalAfter(db: Relations): SQL {
  const j = db.jobs.of('j');
  const state = merged(db, 'state');
  const keep = sql`(coalesce(u.f -> 'opts', ${j.opts}) -> case ${state} when 'completed' then 'removeOnComplete' else 'removeOnFail' end)`;
  return sql`case when not ${ended(state)} then null when ${state} = ${j.state} then ${j.removeAt}
    when jsonb_typeof(${keep}) = 'number' then ${now} + ${interval(sql`(${keep})::text`)} end`;
}

/**
 * Any fields of a job, whichever were given: the row is locked first, so that what is decided and what is answered is
 * about one and the same version of it. It may be changed by whom nothing is known; by who claimed it, while that
 * lease holds; and by who found it stalled, while it still is. A job that is its own worker's and was listed as
 * stalled by the same store may get calls from both: `waiting` is then taken for the sweeper's.
 */
const mergeIntoJob = statement(
  'update job',
  ['queue', 'id', 'updates', 'expected', 'claimed', 'stalled', 'shard', 'drop'],
  (db, p) => {
    const j = db.jobs.of('j');
    const { col } = db.jobs;
    const state = merged(db, 'state');
    const endOf = sql`case ${j.state} when 'completed' then ${j.completedAt} when 'failed' then ${j.failedAt} end`;
    return sql`
      with u as materialized (select ${p.updates}::jsonb as f),
      seen as materialized (
        select ${j.state} as state, coalesce(${p.expected}::jsonb @> to_jsonb(${j.state}), true) as expected,
          coalesce((${p.claimed} is null and ${p.stalled} is null)
            or (${j.state} = 'active' and ${j.lease} = ${p.stalled}::int
              and (${j.lockUntil} is null or ${j.lockUntil} < now()))
            or (${j.state} = 'active' and ${j.lease} = ${p.claimed}::int
              and (${p.stalled} is null or u.f ->> 'state' is distinct from 'waiting')), false) as held
        from ${db.jobs.as('j')} cross join u
        where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} for update of j),
      changed as (
        update ${db.jobs.as('j')} set ${plainAssignments(db)},
          ${col.deduplicationKey} = ${keyAfter(db, p.drop)},
          ${col.priority} = coalesce((u.f ->> 'priority')::int, ${j.priority}),
          ${col.lease} = case when ${j.state} = 'active' and ${state} in ('waiting', 'delayed')
            then ${j.lease} + 1 else ${j.lease} end,
          ${col.removeAt} = ${removalAfter(db)}
        from u, seen where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and seen.expected and seen.held
        returning ${j.queueName} as q, ${j.name} as name, ${j.state} as state, ${j.delayUntil} as until,
          ${j.processedAt} as processed, ${endOf} as ended),
      outcomes as materialized (
        select q, name, changed.state, ${now} - (ended - processed) as processed, ended from changed join seen
          on changed.state <> seen.state
        where ${p.shard} is not null and ended is not null and processed is not null),
      ${countMetrics(db, p.shard)}
      select ${columns(sql`s.state`, sql`s.expected`, sql`s.held`, sql`c.state`, epochMs(sql`c.until`))}
      from seen s left join changed c on true`;
  },
);

const KEY_RACE_ROUNDS = 3;
const UNKNOWN: Known = { claimed: undefined, stalled: undefined };

/**
 * Merges fields into a job, by its id alone: fenced by what this store knows of it.
 *
 * @throws InvalidJobStateError when it is not in the expected state; LeaseLostError when this store handed it out and
 * it is somebody else's by now
 */
export async function updateJob(
  engine: Engine,
  fences: Fences,
  queueName: string,
  id: string,
  updates: Partial<JobData>,
  options: UpdateJobOptions,
): Promise<void> {
  const json = encodeUpdates(updates, { queueName, id }, engine.options.maxPayloadBytes);
  const expected = options.expectedState === undefined ? null : [options.expectedState].flat();
  for (const state of expected ?? []) assertJobState(state);
  // Who expects any other state does not claim to hold the job.
  const known = expected === null || expected.includes('active') ? fences.get(queueName, id) : UNKNOWN;
  const metrics = engine.options.metrics.enabled;
  const row = await run(engine.executor, {
    queue: queueName,
    id,
    updates: json,
    expected: expected && JSON.stringify(expected),
    claimed: known.claimed ?? null,
    stalled: known.stalled ?? null,
    shard: metrics ? engine.shard : null,
  });
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
  if (after === 'waiting' && before !== 'waiting') engine.hub.ring(queueName);
  if (after === 'delayed' && until != null) engine.hub.ring(queueName, Number(until) - Date.now());
}

type MergeValues = Parameters<Executor['run']>[1];

/** The unique index decides who holds a key: when it refused, the holder can be seen by now. */
async function run(executor: Executor, values: MergeValues): Promise<Row | undefined> {
  for (let round = 0; ; round++) {
    try {
      const drop = round < KEY_RACE_ROUNDS ? null : 'drop';
      return (await executor.run(mergeIntoJob, { ...values, drop } as never))[0];
    } catch (error) {
      if (!isDeduplicationConflict(error) || round >= KEY_RACE_ROUNDS) throw error;
    }
  }
}

const prolong = statement(
  'extend lock',
  ['queue', 'id', 'lease', 'lock'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`update ${db.jobs.as('j')} set ${db.jobs.col.lockUntil} = ${now} + ${interval(p.lock)}
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id} and ${j.state} = 'active'
        and (${p.lease} is null or ${j.lease} = ${p.lease}::int)
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/** False when the job is not active, or not under the lease that this store handed it out with. */
export async function extendLock(
  executor: Executor,
  fences: Fences,
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
    const j = db.jobs.of('j');
    const { col } = db.jobs;
    return sql`update ${db.jobs.as('j')} set ${col.lockUntil} = null, ${col.lockedBy} = null
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
        and (${p.lease} is null or ${j.lease} = ${p.lease}::int)
      returning ${columns(j.id)}`;
  },
  { repeatable: true },
);

/**
 * Often called once more when a job has ended: then it must not take the lock of whoever runs it by now.
 *
 * @throws LeaseLostError when this store handed the job out and it is somebody else's by now
 */
export async function releaseLock(executor: Executor, fences: Fences, queueName: string, id: string): Promise<void> {
  const { claimed } = fences.get(queueName, id);
  const lease = claimed ?? fences.ended(queueName, id) ?? null;
  const rows = await executor.run(unlock, { queue: queueName, id, lease });
  if (rows.length === 0 && claimed !== undefined) throw new LeaseLostError(id, queueName);
}

const removeUnderLease = statement(
  'remove under lease',
  ['queue', 'id', 'lease'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`
      with gone as (
        delete from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
          and (${p.lease} is null or ${j.lease} = ${p.lease}::int) returning 1)
      select ${columns(sql`(select count(*) from gone)`)} from ${db.jobs.as('j')}
      where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
  },
  { repeatable: true },
);

/**
 * Deletes a job; one that does not exist is fine. Its parent hears nothing: who calls this counts for itself.
 *
 * @throws LeaseLostError when this store handed the job out and it is somebody else's by now
 */
export async function removeFenced(executor: Executor, fences: Fences, queueName: string, id: string): Promise<void> {
  const lease = fences.get(queueName, id).claimed ?? null;
  const [row] = await executor.run(removeUnderLease, { queue: queueName, id, lease });
  if (row?.[0] === '0' && lease !== null) throw new LeaseLostError(id, queueName);
  fences.forget(queueName, id);
}

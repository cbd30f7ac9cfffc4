import { setTimeout as sleep } from 'node:timers/promises';
import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import type { Relations } from '../db/relation.js';
import { columns, statement } from '../db/statement.js';
import { ConveyorError } from '../model/errors.js';
import { validateQueueName } from '../model/names.js';
import { CHUNK, type Done, horizon, NOTHING, together } from './chunks.js';
import { countActive } from './counts.js';
import { ALL_NAMES, pauseName, resumeName } from './pauses.js';
import { removeAll } from './removal.js';
import { beforeSeq, removalOfRoots, removalOfState } from './state-removal.js';

/** How long transactions that were writing jobs when the queue was stopped may take to end, in ms. */
const WRITERS_LIMIT = 10_000;
const WRITERS_POLL = 10;
/** Each round takes what was there when it began; a queue that is still added to is not chased for ever. */
const ROUNDS = 10;

/**
 * Transactions that may be claiming a job right now: whatever changes jobs holds this lock from before it takes its
 * snapshot until it has ended. `known` is null for all of them, else those of a JSON array that have not ended.
 */
const selectWriters = statement(
  'writers of jobs',
  ['queue', 'known'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`select ${columns(sql`l.virtualtransaction`)} from pg_locks l
      where l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.pid is distinct from pg_backend_pid()
        and l.database = (select oid from pg_database where datname = current_database())
        and l.relation = (select "j".tableoid from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue} limit 1)
        and (${p.known} is null or l.virtualtransaction in (select jsonb_array_elements_text(${p.known}::jsonb)))`;
  },
  { repeatable: true },
);

const bound = beforeSeq('obliterate');
const ROOTS = removalOfRoots(bound);
/** In the order in which a job goes from one state to the next, so that none is missed on its way. */
const stateRemovals = (states: readonly Parameters<typeof removalOfState>[0][]) =>
  states.map((state) => removalOfState(state, bound));
const INACTIVE = [ROOTS, ...stateRemovals(['waiting-children', 'delayed', 'waiting', 'completed', 'failed'])];
const ALL = [ROOTS, ...stateRemovals(['waiting-children', 'active', 'delayed', 'waiting', 'completed', 'failed'])];

const selectAnyJob = statement(
  'any job of queue',
  ['queue'],
  (db, p) => {
    const j = db.jobs.of('j');
    return sql`select ${columns(sql`exists (select 1 from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue})`)}`;
  },
  { repeatable: true },
);

/**
 * Removes everything of a queue, in every table. Without `force`, jobs that are active refuse it.
 *
 * No job is claimed between the look at the active ones and the end of the removal, although neither is one
 * statement with the other: the queue is paused first, which every claim looks at; claims that had begun before that
 * are waited for; and only then is it decided. When it is refused, the queue is as it was, and goes on. When this
 * process dies on the way, the queue stays paused, with what is left of it: calling it again does the rest. (Who
 * resumes the queue meanwhile starts jobs; they are not removed, and it is refused with the rest gone.)
 *
 * @throws ConveyorError `ACTIVE_JOBS_EXIST`; `QUEUE_BUSY` when a transaction that writes jobs does not end
 */
export async function obliterate(executor: Executor, queueName: string, force: boolean): Promise<Done> {
  const queue = validateQueueName(queueName);
  const done = force ? await removeQueue(executor, queue, true) : await whileStopped(executor, queue);
  // The queue's own jobs are gone whatever became of them on the way.
  return { count: done.count, parents: done.parents.filter((parent) => parent.queueName !== queue) };
}

async function whileStopped(executor: Executor, queue: string): Promise<Done> {
  // Most refusals need no pause at all.
  await refuseActive(executor, queue);
  const stopped = await pauseName(executor, queue, ALL_NAMES);
  try {
    await writersEnded(executor, queue);
    await refuseActive(executor, queue);
  } catch (error) {
    if (stopped) await resumeName(executor, queue, ALL_NAMES);
    throw error;
  }
  return removeQueue(executor, queue, false);
}

async function refuseActive(executor: Executor, queue: string): Promise<void> {
  const active = await countActive(executor, queue);
  if (active === 0) return;
  throw new ConveyorError(
    `Queue "${queue}" cannot be obliterated: active jobs exist (${active}). Wait for them, or use { force: true }.`,
    { code: 'ACTIVE_JOBS_EXIST' },
  );
}

async function writersEnded(executor: Executor, queue: string): Promise<void> {
  const deadline = performance.now() + WRITERS_LIMIT;
  const ask = async (known: string | null) => (await executor.run(selectWriters, { queue, known })).map(([id]) => id);
  let open = await ask(null);
  while (open.length > 0) {
    if (performance.now() > deadline) {
      throw new ConveyorError(
        `Queue "${queue}" cannot be obliterated: for ${WRITERS_LIMIT} ms a transaction has been open that writes jobs ` +
          'and may hold an active one; nothing was removed.',
        { code: 'QUEUE_BUSY' },
      );
    }
    await sleep(WRITERS_POLL);
    open = await ask(JSON.stringify(open));
  }
}

async function removeQueue(executor: Executor, queue: string, force: boolean): Promise<Done> {
  // Schedules first: they would make new jobs.
  await removeRows(executor, removeSchedules, queue);
  let done = NOTHING;
  for (let round = 0; round < ROUNDS; round++) {
    const { seq } = await horizon(executor);
    for (const statements of force ? ALL : INACTIVE) {
      done = together(done, await removeAll(executor, statements, { queue, seq }));
    }
    if (!force) await refuseActive(executor, queue);
    const [row] = await executor.run(selectAnyJob, { queue });
    if (row?.[0] !== 'true') break;
  }
  // The pause last: it holds the claims off until nothing is left.
  for (const statement of [removeCursors, removeLimits, removeMetrics, removePauses]) {
    await removeRows(executor, statement, queue);
  }
  return done;
}

/** Chunk by chunk, locked in the order of the key, in which those who write several rows lock them as well. */
const removalFrom = (
  name: string,
  table: (db: Relations) => { as(alias: string): SQL },
  key: (db: Relations) => SQL[],
) =>
  statement(`obliterate ${name}`, ['queue', 'limit'], (db, p) => {
    const [queueName] = key(db);
    const picked = sql`select "r".ctid from ${table(db).as('r')} where ${queueName as SQL} = ${p.queue}
      order by ${sql.join(key(db), sql`, `)} limit ${p.limit}::int for update`;
    return sql`with gone as (
        delete from ${table(db).as('r')} where "r".ctid = any(array(${picked})) returning 1)
      select ${columns(sql`count(*)`)} from gone`;
  });

const removeSchedules = removalFrom(
  'schedules',
  (db) => db.schedules,
  (db) => [db.schedules.col.queueName, db.schedules.col.key],
);
const removeCursors = removalFrom(
  'group cursors',
  (db) => db.groupCursors,
  (db) => [db.groupCursors.col.queueName, db.groupCursors.col.groupId],
);
const removeLimits = removalFrom(
  'rate limits',
  (db) => db.rateLimits,
  (db) => [db.rateLimits.col.queueName],
);
const removePauses = removalFrom(
  'paused names',
  (db) => db.pausedNames,
  (db) => [db.pausedNames.col.queueName, db.pausedNames.col.jobName],
);
const removeMetrics = removalFrom(
  'metrics',
  (db) => db.metrics,
  ({ metrics: { col } }) => [col.queueName, col.jobName, col.granularity, col.periodStart, col.shard],
);

/** A row that changed while its lock was waited for is found by the next statement: so until none is found. */
async function removeRows(executor: Executor, remove: typeof removeMetrics, queue: string): Promise<void> {
  for (;;) {
    const [row] = await executor.run(remove, { queue, limit: CHUNK });
    if (Number(row?.[0]) === 0) return;
  }
}

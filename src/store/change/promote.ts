import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, OPTIONAL, type Slots, statement, variants } from '../../db/statement.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import { validateQueueName } from '../../model/options/names.js';
import { show } from '../../model/text.js';
import { type BulkResult, CHUNK, chunkColumns, cutoff, inChunks, readChunk } from '../remove/chunks.js';
import { belongsToTick } from '../rules/schedule-jobs.js';
import { firstKey, jobKey, notSetAside, SetAside, SKIP_NONE, sparing } from '../rules/set-aside.js';
import { inState, stillIn } from '../rules/states.js';
import { type ChangeAnswer, change, readAnswer } from './change.js';

/** Delayed jobs that can run now. */

const promoted = (db: Tables): SQL => sql`${bare(db.jobs).state} = 'waiting', ${bare(db.jobs).delayUntil} = null`;

const delayed = (j: Jobs, queue: SQLWrapper): SQL => sql`${j.queueName} = ${queue} and ${inState(j, 'delayed')}`;

const promoteJob = change('promote job', [], (db) => ({
  allowed: inState(alias(db.jobs, 'j'), 'delayed'),
  set: promoted(db),
}));

/** A delayed job can run now. */
export async function promoteOne(executor: Executor, queueName: string, id: string): Promise<ChangeAnswer> {
  return readAnswer(await executor.run(promoteJob, { queue: queueName, id }));
}

/** A chunk of the delayed jobs `within` a bound; answers with their number, or with `ids` with their ids. */
function promotion(name: string, within: (j: Jobs, bound: SQL, db: Tables) => SQL) {
  const candidates = (db: Tables, p: Slots<'queue' | 'bound' | 'skip'>) => {
    const j = alias(db.jobs, 'j');
    return sql`from ${db.jobs} as ${j} where ${delayed(j, p.queue)} and ${within(j, p.bound, db)}
      and ${notSetAside(j, p.skip)} order by ${j.delayUntil}`;
  };
  const head = statement(`${name} head`, ['queue', 'bound', 'skip'], (db, p) => {
    return sql`select ${columns(jobKey(alias(db.jobs, 'j')))} ${candidates(db, p)} limit 1 for update skip locked`;
  });
  const chunk = variants({ wait: OPTIONAL, ids: OPTIONAL }, ({ wait, ids }, declare) =>
    declare(
      `${name}${wait ? ' (held)' : ''}${ids ? ' with ids' : ''}`,
      ['queue', 'bound', 'limit', 'skip'],
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const rest = candidates(db, p);
        return sql`
        with picked as materialized (
          select ${j}.ctid ${rest} limit ${p.limit}::int for update${wait ? sql`` : sql` skip locked`}),
        promoted as (
          update ${db.jobs} as ${j} set ${promoted(db)}
          where ${j}.ctid = any(array(select ctid from picked)) and ${stillIn(j, 'delayed')} returning ${j.id} as id)
        select ${ids ? columns(sql`id`) : columns(...chunkColumns(sql`promoted`, rest))}${ids ? sql` from promoted` : sql``}`;
      },
    ),
  );
  return { head, chunk };
}

const promoteBefore = promotion('promote all', (j, seq) => sql`abs(${j.seq}) < ${seq}::bigint`);

/** Makes every job waiting that is delayed when it is called. */
export async function promoteAll(executor: Executor, queueName: string): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  const { seq } = await cutoff(executor);
  const { head, chunk } = promoteBefore;
  return inChunks({
    work: async (limit, wait, skip) =>
      readChunk(await executor.run(chunk({ wait, ids: false }), { queue, bound: seq, limit, skip })),
    head: async (skip) => firstKey(await executor.run(head, { queue, bound: seq, skip })),
  });
}

/**
 * By a time in epoch ms; null: the database's. The job of a schedule's next tick is passed over: whether it may run by
 * now is decided when its schedule advances.
 */
const promoteDueBy = promotion(
  'promote due',
  (j, until, db) => sql`${j.delayUntil} <= coalesce(${instantOf(until)}, now()) and not ${belongsToTick(db, j)}`,
);

/** Beyond it a timestamp promotes everything that has a time, and Postgres cannot read it. */
const LAST_TIME = Date.UTC(9999, 11, 31);

/**
 * Makes every job waiting that is due at `timestamp` (epoch ms), but those of the next ticks of schedules. Locked jobs are passed over: most likely another
 * process is promoting them.
 */
export async function promoteDue(executor: Executor, queueName: string, timestamp: number): Promise<number> {
  const queue = validateQueueName(queueName);
  if (typeof timestamp !== 'number') {
    throw new TypeError(`timestamp is ${show(timestamp)}; it must be a number of epoch milliseconds.`);
  }
  if (Number.isNaN(timestamp)) throw new RangeError('timestamp is NaN; it must be a number of epoch milliseconds.');
  const bound = Math.min(Math.max(timestamp, 0), LAST_TIME);
  const due = promoteDueBy.chunk({ wait: false, ids: false });
  const next = async () => readChunk(await executor.run(due, { queue, bound, limit: CHUNK, skip: SKIP_NONE }));
  let count = 0;
  for (let chunk = await next(); chunk.picked > 0; chunk = await next()) count += chunk.count;
  return count;
}

/** Rows of one promotion statement: many workers share a million due jobs without holding each other up. */
export const PROMOTE_CHUNK = CHUNK;

/**
 * Promotes one chunk of the delayed jobs that are due by the database's clock; resolves to their ids.
 *
 * @param aside jobs that the database refuses to promote
 */
export async function promoteChunk(
  executor: Executor,
  queueName: string,
  aside = new SetAside(() => {}),
): Promise<string[]> {
  const due = promoteDueBy.chunk({ wait: false, ids: true });
  const values = { queue: queueName, bound: null };
  const rows = await sparing({
    work: (limit, skip) => executor.run(due, { ...values, limit, skip }),
    head: async (skip) => firstKey(await executor.run(promoteDueBy.head, { ...values, skip })),
    limit: PROMOTE_CHUNK,
    aside,
  });
  return rows.map(([id]) => id as string);
}

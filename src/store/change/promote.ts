import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, OPTIONAL, variants } from '../../db/statement.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import { validateQueueName } from '../../model/options/names.js';
import { show } from '../../model/text.js';
import { type BulkResult, CHUNK, chunkColumns, cutoff, inChunks, readChunk } from '../remove/chunks.js';
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

/** A chunk of the delayed jobs `within` a bound: they are counted where they are, and their ids are answered if asked. */
function promotion(name: string, within: (j: Jobs, bound: SQL) => SQL) {
  return variants({ wait: OPTIONAL, ids: OPTIONAL }, ({ wait, ids }, declare) =>
    declare(`${name}${wait ? ' (held)' : ''}${ids ? ' with ids' : ''}`, ['queue', 'bound', 'limit'], (db, p) => {
      const j = alias(db.jobs, 'j');
      const rest = sql`from ${db.jobs} as ${j} where ${delayed(j, p.queue)} and ${within(j, p.bound)} order by ${j.delayUntil}`;
      return sql`
        with picked as materialized (
          select ${j}.ctid ${rest} limit ${p.limit}::int for update${wait ? sql`` : sql` skip locked`}),
        promoted as (
          update ${db.jobs} as ${j} set ${promoted(db)}
          where ${j}.ctid = any(array(select ctid from picked)) and ${stillIn(j, 'delayed')} returning ${j.id} as id)
        select ${ids ? columns(sql`id`) : columns(...chunkColumns(sql`promoted`, rest))}${ids ? sql` from promoted` : sql``}`;
    }),
  );
}

const promoteBefore = promotion('promote all', (j, seq) => sql`abs(${j.seq}) < ${seq}::bigint`);

/** Makes every job waiting that is delayed when it is called. */
export async function promoteAll(executor: Executor, queueName: string): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  const { seq } = await cutoff(executor);
  return inChunks(async (limit, wait) =>
    readChunk(await executor.run(promoteBefore({ wait, ids: false }), { queue, bound: seq, limit })),
  );
}

/** By a time in epoch ms; null: the database's. */
const promoteDueBy = promotion(
  'promote due',
  (j, until) => sql`${j.delayUntil} <= coalesce(${instantOf(until)}, now())`,
);

/** Beyond it a timestamp promotes everything that has a time, and Postgres cannot read it. */
const LAST_TIME = Date.UTC(9999, 11, 31);

/**
 * Makes every job waiting that is due at `timestamp` (epoch ms). Locked jobs are passed over: most likely another
 * process is promoting them.
 */
export async function promoteDue(executor: Executor, queueName: string, timestamp: number): Promise<number> {
  const queue = validateQueueName(queueName);
  if (typeof timestamp !== 'number') {
    throw new TypeError(`timestamp is ${show(timestamp)}; it must be a number of epoch milliseconds.`);
  }
  if (Number.isNaN(timestamp)) throw new RangeError('timestamp is NaN; it must be a number of epoch milliseconds.');
  const bound = Math.min(Math.max(timestamp, 0), LAST_TIME);
  const due = promoteDueBy({ wait: false, ids: false });
  const next = async () => readChunk(await executor.run(due, { queue, bound, limit: CHUNK }));
  let count = 0;
  for (let chunk = await next(); chunk.picked > 0; chunk = await next()) count += chunk.count;
  return count;
}

/** Rows of one promotion statement: many workers share a million due jobs without holding each other up. */
export const PROMOTE_CHUNK = CHUNK;

/** Promotes one chunk of the delayed jobs that are due by the database's clock; resolves to their ids. */
export async function promoteChunk(executor: Executor, queueName: string): Promise<string[]> {
  const due = promoteDueBy({ wait: false, ids: true });
  return (await executor.run(due, { queue: queueName, bound: null, limit: PROMOTE_CHUNK })).map(([id]) => id as string);
}

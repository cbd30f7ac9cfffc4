import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Statement, statement } from '../../db/statement.js';
import { alias, bare, type Jobs } from '../../db/tables.js';
import { instantOf } from '../../db/time.js';
import { validateQueueName } from '../../model/options/names.js';
import { show } from '../../model/text.js';
import { type BulkResult, CHUNK, chunkColumns, cutoff, inChunks, readChunk } from '../remove/chunks.js';
import { stillIn } from '../rules/states.js';

type Params = 'queue' | 'bound' | 'limit';

/** Delayed jobs become waiting and are counted where they are; they come back to nobody. */
function promotion(name: string, within: (j: Jobs, bound: SQL) => SQL, wait: boolean): Statement<Params> {
  return statement(`${name}${wait ? ' (held)' : ''}`, ['queue', 'bound', 'limit'], (db, p) => {
    const j = alias(db.jobs, 'j');
    const col = bare(db.jobs);
    const delayed = sql`${j.queueName} = ${p.queue} and ${j.state} = 'delayed' and ${within(j, p.bound)}`;
    const rest = sql`from ${db.jobs} as ${j} where ${delayed} order by ${j.delayUntil}`;
    return sql`
      with picked as materialized (
        select ${j}.ctid ${rest} limit ${p.limit}::int for update${wait ? sql`` : sql` skip locked`}),
      promoted as (
        update ${db.jobs} as ${j} set ${col.state} = 'waiting', ${col.delayUntil} = null
        where ${j}.ctid = any(array(select ctid from picked)) and ${stillIn(j, 'delayed')} returning 1)
      select ${columns(...chunkColumns(sql`promoted`, rest))}`;
  });
}

const beforeSeq = (j: Jobs, seq: SQL) => sql`abs(${j.seq}) < ${seq}::bigint`;
const all = {
  skipping: promotion('promote all', beforeSeq, false),
  waiting: promotion('promote all', beforeSeq, true),
};

/** Makes every job waiting that is delayed when it is called. */
export async function promoteAll(executor: Executor, queueName: string): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  const { seq } = await cutoff(executor);
  return inChunks(async (limit, wait) =>
    readChunk(await executor.run(wait ? all.waiting : all.skipping, { queue, bound: seq, limit })),
  );
}

const promoteDueStatement = promotion(
  'promote due by',
  (j, until) => sql`${j.delayUntil} <= ${instantOf(until)}`,
  false,
);

/** Beyond it a timestamp promotes everything that has a time, and Postgres cannot read it. */
const LAST_TIME = Date.UTC(9999, 11, 31);

/**
 * Makes every job waiting that is due at `timestamp` (epoch ms). Jobs that somebody else holds are passed over: most
 * likely they are being promoted by him.
 */
export async function promoteDue(executor: Executor, queueName: string, timestamp: number): Promise<number> {
  const queue = validateQueueName(queueName);
  if (typeof timestamp !== 'number') {
    throw new TypeError(`timestamp is ${show(timestamp)}; it must be a number of epoch milliseconds.`);
  }
  if (Number.isNaN(timestamp)) throw new RangeError('timestamp is NaN; it must be a number of epoch milliseconds.');
  const bound = Math.min(Math.max(timestamp, 0), LAST_TIME);
  const next = async () => readChunk(await executor.run(promoteDueStatement, { queue, bound, limit: CHUNK }));
  let count = 0;
  for (let chunk = await next(); chunk.picked > 0; chunk = await next()) count += chunk.count;
  return count;
}

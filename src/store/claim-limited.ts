import { type SQL, sql } from 'drizzle-orm';
import { type Statement, statement } from '../db/statement.js';
import { claimable, heads, pausedNames, takeUnderLease, type Variant } from './claim.js';
import { guardCtes, guardOpensIn, guardUpdate, stampCte } from './claim-guard.js';
import { JOB_COLUMN_COUNT, jobColumns } from './job-row.js';

export const LIMITED_PARAMS = [
  'queue',
  'worker',
  'lock',
  'limit',
  'name',
  'priority',
  'seq',
  'rateMax',
  'rateMs',
  'active',
  'groupActive',
  'groupMax',
  'groupMs',
  'excluded',
] as const;
export type LimitedParams = (typeof LIMITED_PARAMS)[number];

/**
 * How a limited claim ended, which comes with its jobs, or in a row of its own:
 * - `done`: there is no more to take
 * - `prepared`: the rows that guard it are there now; it must be asked again
 * - `contended`: others were at it; asked again, it may find more
 * - `more`: it took a fair share of each group, and groups have more
 */
export type ClaimStatus = 'done' | 'prepared' | 'contended' | 'more';

/** Rows of `[status, opensIn, …job columns]`; the job's are null in a claim that took nothing. */
export function claimAnswer(status: SQL, opensIn: SQL, taken: SQL): SQL {
  const cells = sql.raw(Array.from({ length: JOB_COLUMN_COUNT }, (_, i) => `t.c${i}`).join(', '));
  return sql`select (${status})::text as status, (${opensIn})::text as opens_in, ${cells}
    from (select 1) one left join ${taken} t on true`;
}

/** A claim in the queue's order, under limits of the queue. */
function limitedStatement(shape: Variant): Statement<LimitedParams> {
  return statement(
    `claim limited${shape.lifo ? ' lifo' : ''}${shape.byName ? ' by name' : ''}`,
    LIMITED_PARAMS,
    (db, p) => {
      const j = db.jobs.of('j');
      const name = sql`(${p.name} is null or ${j.name} = ${p.name})`;
      const work = sql`exists (select 1 from ${db.jobs.as('j')} where ${j.queueName} = ${p.queue}
        and ${j.state} = 'waiting' and ${claimable(j, undefined)} and ${name})`;
      const status = sql`case when not exists (select 1 from seen) then 'prepared'
        when (select count(*) from taken) < (select count(*) from next) then 'contended'
        when (select outdated and lim = 0 from allowed) then 'contended' else 'done' end`;
      return sql`
        with ${shape.lifo ? sql`recursive` : sql``} paused as materialized (${pausedNames(db, p.queue)}),
        ${guardCtes(db, p, work)},
        ${heads(db, p, shape, sql`coalesce((select lim from allowed), 0)`)},
        ${stampCte(sql`next`)},
        taken as (
          update ${db.jobs.as('j')} set ${takeUnderLease(db, p.worker, p.lock, sql`(select at from stamp)`)}
          where ${j.ctid} = any(array(select ctid from next)) and ${j.state} = 'waiting'
          returning ${jobColumns(j)}),
        ${guardUpdate(db, p)}
        ${claimAnswer(status, guardOpensIn(p), sql`taken`)}`;
    },
  );
}

const variants = new Map<string, Statement<LimitedParams>>();

/** Built once per shape, so that each is one prepared statement. */
export function limitedClaim(shape: Variant): Statement<LimitedParams> {
  const key = `${shape.lifo}${shape.byName}`;
  let found = variants.get(key);
  if (!found) {
    found = limitedStatement(shape);
    variants.set(key, found);
  }
  return found;
}

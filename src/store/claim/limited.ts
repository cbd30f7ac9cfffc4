import { type SQL, sql } from 'drizzle-orm';
import { columns, type Statement, variants } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { claimedColumns, JOB_COLUMN_COUNT } from '../rows/job-row.js';
import {
  CLAIM_ORDERS,
  type ClaimOrder,
  claimable,
  claimName,
  firstJobs,
  pausedNames,
  stillWaiting,
  takeUnderLease,
} from './claim.js';
import { guardCtes, guardOpensIn, guardUpdate, stampCte } from './guard.js';

const PARAM_TYPES = {
  queue: 'text',
  worker: 'text',
  lock: 'float8',
  limit: 'int',
  name: 'text',
  priority: 'int',
  seq: 'bigint',
  rateMax: 'bigint',
  rateMs: 'bigint',
  active: 'bigint',
  groupActive: 'bigint',
  groupMax: 'bigint',
  groupMs: 'bigint',
  excluded: 'jsonb',
} as const;
export type LimitedParams = keyof typeof PARAM_TYPES;
export const LIMITED_PARAMS = Object.keys(PARAM_TYPES) as LimitedParams[];
type Params = Record<LimitedParams, SQL>;

/**
 * The parameters as a CTE `given`, and how the rest of the statement reads them. With parameters in place, the server
 * may find a plan for their values cheaper than one for any, and then plans these long statements anew at each claim,
 * which takes longer than running them. What it cannot see does not tempt it.
 */
export function given(p: Params): { cte: SQL; values: Params } {
  const names = LIMITED_PARAMS.map((name) => sql`${p[name]}::${sql.raw(PARAM_TYPES[name])} as ${sql.identifier(name)}`);
  return {
    cte: sql`given as materialized (select ${sql.join(names, sql`, `)})`,
    values: Object.fromEntries(
      LIMITED_PARAMS.map((name) => [name, sql`(select ${sql.identifier(name)} from given)`]),
    ) as Params,
  };
}

/**
 * How a limited claim ended:
 * - `done`: there is no more to take
 * - `prepared`: rows that guard it were missing and are there now; it must be asked again
 * - `contended`: others were at it; asked again, it may find more
 * - `more`: it took a fair share of each group, and groups have more
 * - `survey`: it took nothing, because there are more groups than it looks through: they must be surveyed
 * - `short`: of the groups seen by the last survey there is no more to take
 */
export type ClaimStatus = 'done' | 'prepared' | 'contended' | 'more' | 'survey' | 'short';

/** Rows of `[status, due, opensIn, …job columns]`; a claim that took nothing answers one row with a null for a job. */
export function claimAnswer(status: SQL, due: SQL, opensIn: SQL, taken: SQL): SQL {
  const cells = Array.from({ length: JOB_COLUMN_COUNT }, (_, i) => sql.raw(`t.c${i}`));
  return sql`select ${columns(status, due, opensIn, ...cells)} from (select 1) one left join ${taken} t on true`;
}

/** A claim in the queue's order, under limits of the queue. */
export const limitedClaim: (shape: { order: ClaimOrder }) => Statement<LimitedParams> = variants(
  { order: CLAIM_ORDERS },
  ({ order }, declare) =>
    declare(claimName('claim limited', order), LIMITED_PARAMS, (db, params) => {
      const { cte, values: p } = given(params);
      const j = alias(db.jobs, 'j');
      const work = sql`exists (select 1 from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue}
        and ${j.state} = 'waiting' and ${claimable(j, order === 'by name' ? p.name : undefined)})`;
      const status = sql`case when not exists (select 1 from seen) then 'prepared'
        when (select count(*) from taken) < (select count(*) from next) then 'contended'
        when (select outdated and lim = 0 from allowed) then 'contended' else 'done' end`;
      return sql`
        with ${order === 'lifo' ? sql`recursive` : sql``} ${cte},
        paused as materialized (${pausedNames(db, p.queue)}),
        ${guardCtes(db, p, work)},
        ${firstJobs(db, p, order, sql`coalesce((select lim from allowed), 0)`)},
        ${stampCte(sql`next`)},
        taken as (
          update ${db.jobs} as ${j} set ${takeUnderLease(db, p.worker, p.lock, sql`(select at from stamp)`)}
          where ${j}.ctid = any(array(select ctid from next)) and ${stillWaiting(j)}
          returning ${claimedColumns(j)}),
        ${guardUpdate(db, p)}
        ${claimAnswer(status, sql`false`, guardOpensIn(p), sql`taken`)}`;
    }),
);

import { type SQL, sql } from 'drizzle-orm';
import { columns, type Statement, variants } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { JOB_COLUMN_COUNT } from '../rows/job-row.js';
import { takenJobs, takeUnderLease } from './claim.js';
import {
  CLAIM_MODES,
  CLAIM_ORDERS,
  type ClaimMode,
  type ClaimOrder,
  claimable,
  claimName,
  firstJobs,
  pausedNames,
  selectFirstJobs,
  waitingIn,
} from './eligible.js';
import { claimTime, countClaimed, limitsChanged, queueOpensIn, queueRoom } from './room.js';

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
  skip: 'jsonb',
} as const;
export type LimitedParams = keyof typeof PARAM_TYPES;
export const LIMITED_PARAMS = Object.keys(PARAM_TYPES) as LimitedParams[];
export type LimitedValues = Record<Exclude<LimitedParams, 'skip'>, SQL> & { readonly skip: SQL | undefined };

/**
 * The parameters as a CTE `given`, and how the rest of the statement reads them. As plain parameters they let the server
 * find a plan for their values cheaper than a generic one, and then it plans these long statements anew at each claim,
 * which takes longer than running them. A value that comes from a CTE is unknown to the planner.
 */
export function given(p: Record<LimitedParams, SQL>, mode: ClaimMode): { cte: SQL; values: LimitedValues } {
  const used = LIMITED_PARAMS.filter((name) => name !== 'skip' || mode !== 'plain');
  const names = used.map((name) => sql`${p[name]}::${sql.raw(PARAM_TYPES[name])} as ${sql.identifier(name)}`);
  return {
    cte: sql`given as materialized (select ${sql.join(names, sql`, `)})`,
    values: Object.fromEntries(
      used.map((name) => [name, sql`(select ${sql.identifier(name)} from given)`]),
    ) as LimitedValues,
  };
}

/**
 * How a limited claim ended:
 * - `done`: no more can be claimed
 * - `prepared`: the rows that hold its limits were missing and have been created; it must be sent again
 * - `contended`: other claims were under way; sent again, it may find more
 * - `more`: it claimed a fair share of each group, and groups have more
 * - `refresh`: it claimed nothing, because there are more groups than it steps through: the list must be refreshed
 * - `short`: the listed groups have no more
 */
export type ClaimStatus = 'done' | 'prepared' | 'contended' | 'more' | 'refresh' | 'short';

/** Rows of `[status, refreshDue, opensIn, …job columns]`; a claim that took nothing answers one row without a job. */
export function claimAnswer(status: SQL, refreshDue: SQL, opensIn: SQL, claimed: SQL): SQL {
  const cells = Array.from({ length: JOB_COLUMN_COUNT }, (_, i) => sql.raw(`t.c${i}`));
  return sql`select ${columns(status, refreshDue, opensIn, ...cells)} from (select 1) one left join ${claimed} t on true`;
}

/** A claim in the queue's order, under limits of the queue. */
export const limitedClaim: (shape: { order: ClaimOrder; mode: ClaimMode }) => Statement<LimitedParams> = variants(
  { order: CLAIM_ORDERS, mode: CLAIM_MODES },
  ({ order, mode }, declare) =>
    declare(claimName('claim limited', order, mode), LIMITED_PARAMS, (db, params) => {
      const { cte, values: p } = given(params, mode);
      const j = alias(db.jobs, 'j');
      const work = sql`exists (select 1 ${waitingIn(db, p.queue)} and ${claimable(j, order === 'by name' ? p.name : undefined, p.skip)})`;
      const places = sql`select ${firstJobs.place} from ${firstJobs.table}`;
      const assignments = takeUnderLease(db, p.worker, p.lock, sql`(select at from claim_time)`);
      const status = sql`case when not exists (select 1 from limits_before) then 'prepared'
        when ${limitsChanged} then 'contended'
        when (select count(*) from claimed_jobs) < (select count(*) from ${firstJobs.table}) then 'contended'
        when (select outdated and free = 0 from room) then 'contended' else 'done' end`;
      return sql`
        with ${order === 'lifo' ? sql`recursive` : sql``} ${cte},
        ${pausedNames(db, p.queue)},
        ${queueRoom(db, p, work)},
        ${selectFirstJobs(db, p, order, sql`coalesce((select free from room), 0)`)},
        ${claimTime(firstJobs.table)},
        claimed_jobs as (${takenJobs(db, places, assignments, mode)})
        ${mode === 'probe' ? sql`` : sql`, ${countClaimed(db, p)}`}
        ${claimAnswer(status, sql`false`, queueOpensIn(p), sql`claimed_jobs`)}`;
    }),
);

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Param, type Statement, statement } from '../../db/statement.js';
import { alias, type Jobs, type Tables } from '../../db/tables.js';
import { cascade, endedChildren, selectParents } from '../rules/cascade.js';
import { deletedJob, deletedJobs, keptValues } from '../rules/children-values.js';
import { removedReason } from '../rules/reasons.js';
import { live } from '../rules/states.js';
import { type BulkResult, chunkColumns, inChunks, readChunk } from './chunks.js';

type Slots<K extends string> = { readonly [P in K]: SQL };

/** Which jobs go, chunk by chunk. */
export interface Deletion<K extends string> {
  readonly name: string;
  readonly params: readonly K[];
  /** They have ended: nobody waits for them, only their values are wanted still. */
  readonly ended: boolean;
  where(j: Jobs, p: Slots<K>, db: Tables): SQL;
  /** An order that an index delivers. */
  order(j: Jobs): SQLWrapper;
}

/** The same twice: passing over rows that others hold, and waiting for them. */
export interface DeletionStatements<K extends string> {
  readonly skipping: Statement<K | 'limit'>;
  readonly waiting: Statement<K | 'limit'>;
}

export function deletion<const K extends string>(of: Deletion<K>): DeletionStatements<K> {
  return { skipping: removalStatement(of, false), waiting: removalStatement(of, true) };
}

/**
 * Deletes a chunk, and does in the same statement what follows for parents, in whatever queue they are. A parent that
 * goes with the chunk is deleted before `cascade` looks for it.
 */
function removalStatement<K extends string>(of: Deletion<K>, wait: boolean): Statement<K | 'limit'> {
  return statement<K | 'limit'>(`${of.name}${wait ? ' (held)' : ''}`, [...of.params, 'limit'], (db, p) => {
    const j = alias(db.jobs, 'j');
    const rest = sql`from ${db.jobs} as ${j} where ${of.where(j, p as Slots<K>, db)} order by ${of.order(j)}`;
    const limit = (p as Slots<'limit'>).limit;
    return sql`
      with picked as materialized (
        select ${j}.ctid ${rest} limit ${limit}::int for update${wait ? sql`` : sql` skip locked`}),
      ${deletedJobs.inline(sql`
        delete from ${db.jobs} as ${j} where ${j}.ctid = any(array(select ctid from picked)) returning ${deletedJob(j)}`)},
      ${of.ended ? keptValues(db) : policies(db)}
      select ${columns(...chunkColumns(deletedJobs.table, rest), sql`null::text`)}
      ${of.ended ? sql`` : sql`union all ${selectParents}`}`;
  });
}

/** Parents of jobs that had not ended are treated by their policy. */
function policies(db: Tables): SQL {
  const { id, parentQueueName, parentId, state } = deletedJobs;
  return sql`
    ${endedChildren.as(sql`
      select ${id}, ${parentQueueName}, ${parentId}, true, ${removedReason}::text, null::jsonb, true
      from ${deletedJobs.table} where ${parentId} is not null and ${live(state)}`)},
    ${cascade(db)}`;
}

/** Removes all that match, as `inChunks` says. */
export function deleteAll<K extends string>(
  executor: Executor,
  { skipping, waiting }: DeletionStatements<K>,
  values: Readonly<Record<K, Param>>,
): Promise<BulkResult> {
  return inChunks(async (limit, wait) => {
    const params = { ...values, limit } as Record<K | 'limit', Param>;
    return readChunk(await executor.run(wait ? waiting : skipping, params));
  });
}

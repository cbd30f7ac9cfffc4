import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Param, type Statement, statement } from '../../db/statement.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { cascade } from '../rules/cascade.js';
import { removedReason } from '../rules/reasons.js';
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
      gone as (
        delete from ${db.jobs} as ${j} where ${j}.ctid = any(array(select ctid from picked))
        returning ${j.queueName} as q, ${j.id} as id, ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id,
          ${j.state} as state, ${j.returnvalue} as value),
      ${of.ended ? keptValues(db) : policies(db)}
      select ${columns(...chunkColumns(sql`gone`, rest), sql`null::text`)}
      ${of.ended ? sql`` : sql`union all select q, id, state, reason from parents`}`;
  });
}

function policies(db: Tables): SQL {
  return sql`
    ended as materialized (
      select q, id, parent_q, parent_id, true as failed, ${removedReason}::text as reason, null::jsonb as value,
        true as removed
      from gone where parent_id is not null and state not in ('completed', 'failed')),
    ${cascade(db)}`;
}

/**
 * A parent that is still to run asks for its children's values, also for those of children that are gone by then. Needs
 * the CTE `gone(id, parent_q, parent_id, state, value)`.
 */
export function keptValues(db: Tables): SQL {
  const p = alias(db.jobs, 'p');
  const col = bare(db.jobs);
  return sql`
    bequests as materialized (
      select parent_q as q, parent_id as id, jsonb_object_agg(id, value) as kept
      from gone where parent_id is not null and state = 'completed' group by 1, 2),
    heirs as materialized (
      select b.* from bequests b join ${db.jobs} as ${p} on ${p.queueName} = b.q and ${p.id} = b.id
      where ${p.state} not in ('completed', 'failed')
      order by ${p.queueName}, ${p.id} for update of p),
    kept as (
      update ${db.jobs} as ${p} set ${col.childrenValues} = coalesce(${p.childrenValues}, '{}'::jsonb) || h.kept
      from heirs h where ${p.queueName} = h.q and ${p.id} = h.id and ${p.state} not in ('completed', 'failed')
      returning 1)`;
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

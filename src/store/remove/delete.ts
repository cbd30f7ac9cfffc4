import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Param, type Statement, statement } from '../../db/statement.js';
import { alias, type Jobs, type Tables } from '../../db/tables.js';
import { cascade, endedChildren, selectParents } from '../rules/cascade.js';
import { deletedJob, deletedJobs, keptValues } from '../rules/children-values.js';
import { removedReason } from '../rules/reasons.js';
import { firstKey, jobKey, notSetAside } from '../rules/set-aside.js';
import { live } from '../rules/states.js';
import { type BulkResult, chunkColumns, inChunks, readChunk } from './chunks.js';

type Slots<K extends string> = { readonly [P in K]: SQL };

/** Which jobs go, chunk by chunk. */
export interface Deletion<K extends string> {
  readonly name: string;
  readonly params: readonly K[];
  /** The jobs have ended: no parent waits for them, only their values are kept. */
  readonly ended: boolean;
  where(j: Jobs, p: Slots<K>, db: Tables): SQL;
  /** An order that an index delivers. */
  order(j: Jobs): SQLWrapper;
}

/** The same twice: passing over rows that others hold, and waiting for them. */
export interface DeletionStatements<K extends string> {
  readonly skipping: Statement<K | 'limit' | 'skip'>;
  readonly waiting: Statement<K | 'limit' | 'skip'>;
  /** The id of the first row. */
  readonly head: Statement<K | 'skip'>;
}

export function deletion<const K extends string>(of: Deletion<K>): DeletionStatements<K> {
  return { skipping: deletionStatement(of, false), waiting: deletionStatement(of, true), head: headStatement(of) };
}

/**
 * Deletes a chunk and, in the same statement, treats the parents, in whatever queue they are. A parent in the same chunk
 * is deleted before `cascade` reads it.
 */
function deletionStatement<K extends string>(of: Deletion<K>, wait: boolean): Statement<K | 'limit' | 'skip'> {
  return statement<K | 'limit' | 'skip'>(
    `${of.name}${wait ? ' (held)' : ''}`,
    [...of.params, 'limit', 'skip'],
    (db, p) => {
      const j = alias(db.jobs, 'j');
      const rest = candidates(db, of, p as Slots<K | 'skip'>);
      const limit = (p as Slots<'limit'>).limit;
      return sql`
      with picked as materialized (
        select ${j}.ctid ${rest} limit ${limit}::int for update${wait ? sql`` : sql` skip locked`}),
      ${deletedJobs.inline(sql`
        delete from ${db.jobs} as ${j} where ${j}.ctid = any(array(select ctid from picked)) returning ${deletedJob(j)}`)},
      ${of.ended ? keptValues(db) : policies(db)}
      select ${columns(...chunkColumns(deletedJobs.table, rest), sql`null::text`)}
      ${of.ended ? sql`` : sql`union all ${selectParents}`}`;
    },
  );
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

/** Deletes all that match, as `inChunks` does it. */
export function deleteAll<K extends string>(
  executor: Executor,
  { skipping, waiting, head }: DeletionStatements<K>,
  values: Readonly<Record<K, Param>>,
): Promise<BulkResult> {
  return inChunks({
    work: async (limit, wait, skip) => {
      const params = { ...values, limit, skip } as Record<K | 'limit' | 'skip', Param>;
      return readChunk(await executor.run(wait ? waiting : skipping, params));
    },
    head: async (skip) => firstKey(await executor.run(head, { ...values, skip } as Record<K | 'skip', Param>)),
  });
}

function candidates<K extends string>(db: Tables, of: Deletion<K>, p: Slots<K | 'skip'>): SQL {
  const j = alias(db.jobs, 'j');
  const skip = (p as Slots<'skip'>).skip;
  return sql`from ${db.jobs} as ${j} where ${of.where(j, p, db)} and ${notSetAside(j, skip)} order by ${of.order(j)}`;
}

function headStatement<K extends string>(of: Deletion<K>): Statement<K | 'skip'> {
  return statement<K | 'skip'>(`${of.name} head`, [...of.params, 'skip'], (db, p) => {
    return sql`select ${columns(jobKey(alias(db.jobs, 'j')))} ${candidates(db, of, p as Slots<K | 'skip'>)} limit 1 for update skip locked`;
  });
}

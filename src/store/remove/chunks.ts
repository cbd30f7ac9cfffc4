import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import type { JobState } from '../../model/job.js';
import type { ParentChange } from '../rules/cascade.js';
import { SetAside, SKIP_NONE, sparing } from '../rules/set-aside.js';

/** Rows of one maintenance statement: no lock is held for long, and vacuum can follow. */
export const CHUNK = 1_000;

/** What one statement did. */
export interface Chunk {
  /** Rows it locked. A row that changed after the statement's snapshot is locked and left for the next one. */
  readonly picked: number;
  /** Rows it changed. */
  readonly count: number;
  /** It picked none, although there are some: others hold them. */
  readonly held: boolean;
  readonly parents: readonly ParentChange[];
}

/** What a whole piece of maintenance did. */
export interface BulkResult {
  readonly count: number;
  /** Ancestors that changed with it, in whatever queue: to be announced. */
  readonly parents: readonly ParentChange[];
}

export const NO_CHANGE: BulkResult = { count: 0, parents: [] };

export function combine(...all: readonly BulkResult[]): BulkResult {
  return { count: all.reduce((sum, { count }) => sum + count, 0), parents: all.flatMap(({ parents }) => parents) };
}

export interface ChunkedWork {
  /** Works off one chunk; `wait` for rows that others hold, else pass them over. */
  work(limit: number, wait: boolean, skip: string): Promise<Chunk>;
  /** The id of the first row, for a chunk that is refused. Without it a refusal ends the work. */
  head?(skip: string): Promise<string | undefined>;
  size?: number;
  /** Jobs that the database refuses. Default: the first refusal is thrown once all other jobs are done. */
  aside?: SetAside;
}

/**
 * Chunk after chunk until nothing is left. Rows that another transaction holds are passed over as long as there are
 * others, and then waited for, one in a statement: a statement that holds nothing else cannot be part of a deadlock.
 * When one is free, most likely all of them are, so that the next chunk is a large one again.
 */
export async function inChunks({ work, head, size = CHUNK, aside }: ChunkedWork): Promise<BulkResult> {
  let refusal: { readonly error: unknown } | undefined;
  const refused = aside ?? new SetAside((_id, error) => (refusal ??= { error }));
  const next = (limit: number, wait: boolean) =>
    head
      ? sparing({ work: (most, skip) => work(most, wait, skip), head, limit, aside: refused })
      : work(limit, wait, SKIP_NONE);
  let count = 0;
  const parents: ParentChange[] = [];
  const add = (chunk: Chunk) => {
    count += chunk.count;
    parents.push(...chunk.parents);
    return chunk;
  };
  for (;;) {
    const chunk = add(await next(size, false));
    if (chunk.picked > 0) continue;
    if (!chunk.held) break;
    add(await next(1, true));
  }
  if (refusal) throw refusal.error;
  return { count, parents };
}

const selectHorizon = statement(
  'horizon',
  [],
  (db) => sql`select ${columns(db.nextSeq, sql`extract(epoch from now()) * 1000`)}`,
  // Each takes another `seq`, and none is any job's.
  { repeatable: true },
);

/** A moment by the database: what is newer is not touched, so that work ends also while others add to it. */
export interface Horizon {
  /** Jobs there are have a smaller `seq`, or, for `lifo`, a larger negative one. */
  readonly seq: number;
  /** Epoch ms, with fractions. */
  readonly time: number;
}

export async function cutoff(executor: Executor): Promise<Horizon> {
  const [row] = await executor.run(selectHorizon, {});
  return { seq: Number(row?.[0]), time: Number(row?.[1]) };
}

/**
 * The columns `(picked, count, held)` of a statement with the CTEs `picked` and, for the rows it changed, `changed`. `left`
 * selects what it was to pick from, in the order of an index: as an EXISTS it might be planned as a scan of the table.
 */
export function chunkColumns(changed: SQL, left: SQL): SQL[] {
  return [
    sql`(select count(*) from picked)`,
    sql`(select count(*) from ${changed})`,
    sql`case when (select count(*) from picked) = 0 then (select true ${left} limit 1) is not null end`,
  ];
}

/** The answer: a row of `chunkColumns`, then a row `(queue, id, state, reason)` per changed ancestor. */
export function readChunk([head, ...rest]: Row[]): Chunk {
  const parents = (rest as string[][]).map(([queueName, id, state, reason]) => ({
    queueName: queueName as string,
    id: id as string,
    state: state as JobState | 'removed',
    reason: reason ?? null,
  }));
  return { picked: Number(head?.[0]), count: Number(head?.[1]), held: head?.[2] === 'true', parents };
}

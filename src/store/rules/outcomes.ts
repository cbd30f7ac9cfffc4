import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { type Cte, cte } from '../../db/cte.js';
import type { Jobs } from '../../db/tables.js';

const COLUMNS = [
  'queueName',
  'id',
  'name',
  'state',
  'parentQueueName',
  'parentId',
  'processedAt',
  'reason',
  'returnvalue',
  'expires',
] as const;
export type OutcomeColumn = (typeof COLUMNS)[number];

/**
 * The CTE `outcomes` of a statement that ends jobs: what became of each. What follows for parents (`cascade`) and
 * metrics (`countMetrics`) reads it.
 */
export function outcomesWith<const C extends string>(more: readonly C[]): Cte<OutcomeColumn | C> {
  return cte('outcomes', [...COLUMNS, ...more]);
}

interface Outcome {
  /** What the job became. */
  readonly state: SQLWrapper;
  /** Why it failed. */
  readonly reason: SQLWrapper;
  /** Null where there is none to keep: the job did not complete. */
  readonly returnvalue?: SQLWrapper;
  /** The row is gone, or will be deleted: a parent keeps the value of such a child. */
  readonly expires: SQLWrapper;
}

/** A row of `outcomes`, as `returning` lists it for the updated or deleted row `j`. */
export function outcomeOf(j: Jobs, { state, reason, returnvalue = sql`null::jsonb`, expires }: Outcome): SQL {
  const { queueName, id, name, parentQueueName, parentId, processedAt } = j;
  const columns = [queueName, id, name, state, parentQueueName, parentId, processedAt, reason, returnvalue, expires];
  // Names, because two of these lists become the two sides of a union.
  return sql.join(
    columns.map((column, i) => sql`${column} as ${sql.identifier(`o${i}`)}`),
    sql`, `,
  );
}

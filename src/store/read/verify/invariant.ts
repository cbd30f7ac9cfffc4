import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { columns, type Statement, statement } from '../../../db/statement.js';
import type { Tables } from '../../../db/tables.js';

/** Something that holds for every row between any two statements of the store. */
export interface Invariant<N extends string = string> {
  readonly name: N;
  /** Selects the rows for which it does not hold: `(queue, id, detail)`. */
  readonly offenders: Statement<'limit'>;
}

export interface Offenders {
  readonly queue: SQLWrapper;
  /** What the row is known by in its queue: a job's id, a schedule's key, a group's id. */
  readonly id: SQLWrapper;
  /** What is wrong with it. */
  readonly detail: SQLWrapper;
  /** `from … where …` */
  readonly rows: SQL;
}

export function invariant<N extends string>(name: N, select: (db: Tables) => Offenders): Invariant<N> {
  const offenders = statement(
    `verify ${name}`,
    ['limit'],
    (db, p) => {
      const { queue, id, detail, rows } = select(db);
      // By the first columns: an id may be a constant.
      return sql`select ${columns(queue, id, detail)} ${rows} order by 1, 2 limit ${p.limit}::int`;
    },
    { repeatable: true },
  );
  return { name, offenders };
}

/** `label value, label value`, for a detail; a null is shown as `none`. */
export const told = (facts: Readonly<Record<string, SQLWrapper>>): SQL =>
  sql.join(
    Object.entries(facts).map(([label, value]) => sql`${sql.raw(`'${label} '`)} || coalesce((${value})::text, 'none')`),
    sql` || ', ' || `,
  );

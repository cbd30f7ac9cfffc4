import { type SQL, sql } from 'drizzle-orm';

/** A common table expression whose columns other fragments name: a typed name in place of a string that both retype. */
export type Cte<C extends string> = { readonly [K in C]: SQL } & {
  /** `"name" ("column", …) as materialized (query)`, for the `with` list; the query's columns in the declared order. */
  as(query: SQL): SQL;
  /** The same without `materialized`: for queries that write, which run once anyway, and for recursive ones. */
  inline(query: SQL): SQL;
  /** The columns under an alias: `from ${input.table} as i` and `${input.of('i').id}`. */
  of(alias: string): { readonly [K in C]: SQL };
  /** Its name, as `from` and `join` want it. */
  readonly table: SQL;
};

/** Declares the name and the columns of a common table expression; in SQL they are written in snake_case. */
export function cte<const C extends string>(name: string, columns: readonly C[]): Cte<C> {
  const table = sql`${sql.identifier(name)}`;
  const bare = columns.map((column) => sql`${sql.identifier(snakeCase(column))}`);
  const head = sql`${table} (${sql.join(bare, sql`, `)})`;
  const of = (alias: string) =>
    Object.fromEntries(columns.map((column, i) => [column, sql`${sql.identifier(alias)}.${bare[i] as SQL}`])) as {
      readonly [K in C]: SQL;
    };
  return {
    ...of(name),
    // A derived query that is not materialized is inlined, and may run once per row.
    as: (query: SQL) => sql`${head} as materialized (${query})`,
    inline: (query: SQL) => sql`${head} as (${query})`,
    of,
    table,
  } as Cte<C>;
}

const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

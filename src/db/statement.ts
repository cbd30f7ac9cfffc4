import { fillPlaceholders, type SQL, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { Relations } from './relation.js';

/** Everything crosses the driver as text, so that no driver's type guessing can change or refuse a value. */
export type Param = string | number | null;

/** A row as it comes back from any driver: one text (or null) per output column, in order. */
export type Row = readonly (string | null)[];

type Slots<K extends string> = { readonly [P in K]: SQL };

/** A named statement: its SQL is built once per installation, from the schema's names and numbered parameters. */
export interface Statement<K extends string> {
  readonly name: string;
  /** Safe to send again when it is not known whether it took effect: a read, or a write fenced against itself. */
  readonly repeatable: boolean;
  build(db: Relations, p: Slots<K>): SQL;
  readonly params: readonly K[];
}

export function statement<const K extends string>(
  name: string,
  params: readonly K[],
  build: (db: Relations, p: Slots<K>) => SQL,
  options: { repeatable?: boolean } = {},
): Statement<K> {
  return { name, params, build, repeatable: options.repeatable ?? false };
}

/** An output list: every column as text under a name of its own, which is what makes rows alike on every driver. */
export function columns(...expressions: SQL[]): SQL {
  return sql.join(
    expressions.map((expression, i) => sql`(${expression})::text as ${sql.raw(`c${i}`)}`),
    sql`, `,
  );
}

/** A duration parameter in ms as an interval. */
export const interval = (ms: SQL): SQL => sql`(${ms}::float8 * interval '1 millisecond')`;
/** Epoch milliseconds as a time. */
export const instantOf = (ms: SQL): SQL => sql`to_timestamp(${ms}::float8 / 1000)`;
/**
 * A time as whole epoch milliseconds; null for `infinity`, which only a hand can have written. By `date_part`, whose
 * double is exact enough and several times as fast as the numeric that `extract` gives.
 */
export const epochMs = (time: SQL): SQL =>
  sql`case when isfinite(${time}) then (date_part('epoch', ${time}) * 1000)::bigint end`;
/**
 * The database's clock. Not `now()`: that is when the transaction began, and a statement may stand in a caller's
 * transaction that has been open for a while.
 */
export const statementTime: SQL = sql`statement_timestamp()`;
/** The same in whole milliseconds: what JavaScript can give back exactly. */
export const now: SQL = sql`date_trunc('milliseconds', ${statementTime})`;

export interface Compiled<K extends string> {
  readonly text: string;
  bind(values: Readonly<Record<K, Param>>): (string | null)[];
}

const dialect = new PgDialect();

function slots<K extends string>(params: readonly K[], slot: (name: K) => SQL): Slots<K> {
  return Object.fromEntries(params.map((name) => [name, slot(name)])) as Slots<K>;
}

export function compile<K extends string>(statement: Statement<K>, relations: Relations): Compiled<K> {
  const built = statement.build(
    relations,
    slots(statement.params, (name) => sql`${sql.placeholder(name)}::text`),
  );
  const query = dialect.sqlToQuery(built);
  return {
    text: query.sql,
    bind: (values) => fillPlaceholders(query.params, values).map(asText),
  };
}

/** The same statement with its values in place, for a driver that is reached through Drizzle. */
export function bound<K extends string>(
  statement: Statement<K>,
  relations: Relations,
  values: Readonly<Record<K, Param>>,
): SQL {
  return statement.build(
    relations,
    slots(statement.params, (name) => sql`${sql.param(asText(values[name]))}::text`),
  );
}

function asText(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value);
}

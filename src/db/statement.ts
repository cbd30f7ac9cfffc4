import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { Tables } from './tables.js';

/** Everything crosses the driver as text, so that no driver's type guessing can change or refuse a value. */
export type Param = string | number | null;

/** A row as it comes back from any driver: one text (or null) per output column, in order. */
export type Row = readonly (string | null)[];

export type Slots<K extends string> = { readonly [P in K]: SQL };

/** A named statement: its SQL is built once per installation, from the schema's names and numbered parameters. */
export interface Statement<K extends string> {
  readonly name: string;
  /** Safe to send again when it is not known whether it took effect: a read, or a write fenced against itself. */
  readonly repeatable: boolean;
  readonly params: readonly K[];
  build(db: Tables, p: Slots<K>): SQL;
}

const registry: (() => readonly Statement<string>[])[] = [];

/** Every statement of the modules that are loaded, variants included: for tools that print or explain them. */
export function allStatements(): Statement<string>[] {
  return registry.flatMap((statements) => statements());
}

function make<const K extends string>(
  name: string,
  params: readonly K[],
  build: (db: Tables, p: Slots<K>) => SQL,
  options: { repeatable?: boolean } = {},
): Statement<K> {
  return { name, params, build, repeatable: options.repeatable ?? false };
}

/** Declares a statement. `build` writes it with Drizzle's `sql`; each of its parameters is sent once, as text. */
export const statement: typeof make = (name, params, build, options) => {
  const made = make(name, params, build, options);
  registry.push(() => [made as unknown as Statement<string>]);
  return made;
};

type Shape<A> = { readonly [N in keyof A]: A[N] extends readonly (infer V)[] ? V : never };

/**
 * The variants of a statement, one for each combination of `axes`: fragments differ, so each is a text of its own. Built
 * when it is first needed, and once, because a prepared statement goes by its identity.
 */
export function variants<
  const A extends Readonly<Record<string, readonly (string | number | boolean)[]>>,
  K extends string,
>(axes: A, build: (shape: Shape<A>, declare: typeof make) => Statement<K>): (shape: Shape<A>) => Statement<K> {
  const names = Object.keys(axes);
  const built = new Map<string, Statement<K>>();
  const variant = (shape: Shape<A>) => {
    const key = names.map((name) => String(shape[name as keyof A])).join(' ');
    let found = built.get(key);
    if (!found) {
      found = build(shape, make);
      built.set(key, found);
    }
    return found;
  };
  registry.push(() => {
    const shapes = names.reduce<Record<string, unknown>[]>(
      (all, name) =>
        all.flatMap((shape) => (axes[name] as readonly unknown[]).map((value) => ({ ...shape, [name]: value }))),
      [{}],
    );
    return shapes.map((shape) => variant(shape as Shape<A>) as unknown as Statement<string>);
  });
  return variant;
}

/** The axis of a fragment that is there or not. */
export const OPTIONAL = [false, true] as const;

export interface Compiled<K extends string> {
  readonly name: string;
  /** With `$1`, `$2`, … in the order of their first mention. */
  readonly text: string;
  /** The same text, cut where a parameter is first mentioned: later mentions name its number. For a template's tag. */
  readonly chunks: readonly string[];
  bind(values: Readonly<Record<K, Param>>): (string | null)[];
}

const dialect = new PgDialect();
/** Marks a parameter in the text until it gets its number. */
const MARK = /\{\{(\w+)\}\}/g;

export function compile<K extends string>(statement: Statement<K>, tables: Tables): Compiled<K> {
  const slots = Object.fromEntries(statement.params.map((param) => [param, sql.raw(`{{${param}}}::text`)])) as Slots<K>;
  const query = dialect.sqlToQuery(statement.build(tables, slots));
  if (query.params.length > 0) {
    throw new TypeError(
      `Statement "${statement.name}" holds the bare value ${JSON.stringify(query.params[0])}: use literal().`,
    );
  }
  const sent: K[] = [];
  const chunks = [`/* conveyor: ${statement.name} */ `];
  let end = 0;
  const add = (text: string) => {
    chunks[chunks.length - 1] += text;
  };
  for (const { 0: mark, 1: name, index } of query.sql.matchAll(MARK)) {
    add(query.sql.slice(end, index));
    end = index + mark.length;
    const known = sent.indexOf(name as K);
    if (known >= 0) add(`$${known + 1}`);
    else {
      sent.push(name as K);
      chunks.push('');
    }
  }
  add(query.sql.slice(end));
  return {
    name: statement.name,
    chunks,
    text: chunks.reduce((text, chunk, i) => `${text}$${i}${chunk}`),
    bind: (values) => sent.map((param) => asText(values[param])),
  };
}

/** A compiled statement with its values, for a driver that is reached through Drizzle. */
export function bound<K extends string>(compiled: Compiled<K>, values: Readonly<Record<K, Param>>): SQL {
  const texts = compiled.bind(values);
  return sql.join(
    compiled.chunks.flatMap((chunk, i) => (i === 0 ? [sql.raw(chunk)] : [sql.param(texts[i - 1]), sql.raw(chunk)])),
  );
}

function asText(value: Param | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

/** An output list: every column as text under a name of its own, which is what makes rows alike on every driver. */
export function columns(...expressions: SQLWrapper[]): SQL {
  return sql.join(
    expressions.map((expression, i) => sql`(${expression})::text as ${sql.raw(`c${i}`)}`),
    sql`, `,
  );
}

import type { DrizzleLike } from './drizzle-like.js';
import { condemningCode } from './errors.js';
import { answered, attempt, type Executor, type RunOptions, withoutHoles } from './executor.js';
import { bound, type Compiled, compile, type Param, type Row, type Statement } from './statement.js';
import type { OnStatement } from './statement-event.js';
import type { Tables } from './tables.js';

export interface DrizzleOptions {
  /** A caller's open transaction: a failed statement has ended it, so nothing is sent again. */
  inTransaction: boolean;
  /** ms; does not apply inside a transaction, whose locks are the caller's. */
  timeout: number;
  /** Called with a code that condemns the connection that the statement ran on. */
  unusable?: (code: string) => void;
  onStatement?: OnStatement | undefined;
}

/** One text per statement and installation, whichever database or transaction it runs in. */
const compiled = new WeakMap<Tables, Map<Statement<string>, Compiled<string>>>();

function compiledFor(statement: Statement<string>, tables: Tables): Compiled<string> {
  let ofTables = compiled.get(tables);
  if (!ofTables) {
    ofTables = new Map();
    compiled.set(tables, ofTables);
  }
  let found = ofTables.get(statement);
  if (!found) {
    found = compile(statement, tables);
    ofTables.set(statement, found);
  }
  return found;
}

/** Through `db.execute`: node-postgres, PGlite, Bun SQL, Neon, or a caller's open transaction. */
export class DrizzleExecutor implements Executor {
  readonly tables: Tables;
  readonly #db: DrizzleLike;
  readonly #options: DrizzleOptions;

  constructor(db: DrizzleLike, tables: Tables, options: DrizzleOptions) {
    this.#db = db;
    this.tables = tables;
    this.#options = options;
  }

  run<K extends string>(
    statement: Statement<K>,
    values: Readonly<Record<K, Param>>,
    options: RunOptions = {},
  ): Promise<Row[]> {
    const known = statement as unknown as Statement<string>;
    const { inTransaction, timeout, unusable, onStatement } = this.#options;
    const query = bound(compiledFor(known, this.tables), values);
    const execute = async () => {
      try {
        return rowsOf(await this.#db.execute(query));
      } catch (error) {
        const code = unusable && condemningCode(error);
        if (code !== undefined) unusable?.(code);
        throw error;
      }
    };
    const send = inTransaction ? execute : () => answered(execute(), options.timeout ?? timeout, statement.name);
    return attempt(known, send, { retry: !inTransaction, onStatement });
  }
}

/** Drivers answer with an array, or with an object that holds one; a row is an array or an object in column order. */
function rowsOf(result: unknown): Row[] {
  const found = Array.isArray(result) ? result : ((result as { rows?: unknown }).rows ?? []);
  const rows = withoutHoles(found as Record<string, unknown>[]);
  const names = outputNames(Object.keys(rows[0] ?? {}));
  return rows.map((row) => names.map((name) => textOf(row[name])));
}

/** Without what a transform of the app's adds to each row. It may also have changed how the columns are called. */
function outputNames(names: string[]): string[] {
  const plain = names.filter((name) => /^c?\d+$/i.test(name));
  return plain.length > 0 ? plain : names;
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  // An app may have configured its driver to read null as undefined.
  if (value === null || value === undefined) return null;
  throw new TypeError(
    'The database driver does not return text columns as strings (a parser for type 25 is set). Through Drizzle the ' +
      'store reads all values as text: remove that parser.',
  );
}

import type postgres from 'postgres';
import { ConnectionError } from '../model/errors.js';
import { withDeadline } from './deadline.js';
import type { DrizzleLike } from './drizzle-like.js';
import { faultOf, translate } from './errors.js';
import { changesRows, textRows } from './postgres-js.js';
import type { Relations } from './relation.js';
import { bound, type Compiled, compile, type Param, type Row, type Statement } from './statement.js';

/** Runs statements on one database, or inside one transaction of a caller. */
export interface Executor {
  readonly relations: Relations;
  run<K extends string>(
    statement: Statement<K>,
    values: Readonly<Record<K, Param>>,
    options?: RunOptions,
  ): Promise<Row[]>;
}

export interface RunOptions {
  /** ms after which the caller is told. Default: the executor's own. */
  timeout?: number;
}

export const DEFAULT_STATEMENT_TIMEOUT = 30_000;
const RETRY_DELAYS = [50, 200, 800, 2_000];

/**
 * Prepared and pipelined over postgres.js: one round trip per statement once it is known, and many at once on a
 * connection. `values()` takes rows as arrays, past the app's column transforms; `raw()` also past the others.
 */
export class PreparedExecutor implements Executor {
  readonly relations: Relations;
  readonly #client: () => postgres.Sql;
  readonly #prepare: boolean;
  readonly #timeout: number;
  readonly #silent: ((client: postgres.Sql) => void) | undefined;
  readonly #plans = new Map<Statement<string>, Plan>();

  constructor(
    client: () => postgres.Sql,
    relations: Relations,
    options: { prepare: boolean; timeout: number; silent?: (client: postgres.Sql) => void },
  ) {
    this.#silent = options.silent;
    this.#client = client;
    this.relations = relations;
    this.#prepare = options.prepare;
    this.#timeout = options.timeout;
  }

  run<K extends string>(
    statement: Statement<K>,
    values: Readonly<Record<K, Param>>,
    options: RunOptions = {},
  ): Promise<Row[]> {
    const known = statement as unknown as Statement<string>;
    let plan = this.#plans.get(known);
    if (!plan) {
      plan = new Plan(compile(known, this.relations));
      this.#plans.set(known, plan);
    }
    const { compiled } = plan;
    const params = compiled.bind(values);
    return withRetries(statement, async () => {
      const began = performance.now();
      const client = this.#client();
      const query = client.unsafe(plan.text, params, { prepare: this.#prepare });
      const changed = changesRows(client);
      const rows = (changed ? query.raw() : query.values()) as unknown as Promise<Row[] & { columns: unknown[] }>;
      const limit = options.timeout ?? this.#timeout;
      const answer = await answered(rows, limit, statement.name, () => this.#silent?.(client));
      if (this.#prepare) plan.took(performance.now() - began);
      const whole = withoutHoles(answer);
      return changed ? textRows(whole, answer.columns.length) : whole;
    });
  }
}

/** A statement this slow may be running on a plan that was made when its table was empty. */
const SLOW_MS = 50;
const REPLAN_PAUSE_MS = 10_000;
const MAX_REPLAN_PAUSE_MS = 3_600_000;
/** So many fast ones in a row, and a slow one is news again. */
const FAST_STREAK = 100;

/**
 * A prepared statement's text. The server keeps a statement's plan until the next analyze, however the table has
 * grown meanwhile: so a slow one is sent under a slightly different text, and planned anew. Rarely enough that the
 * old ones do not pile up.
 */
class Plan {
  readonly compiled: Compiled<string>;
  text: string;
  #generation = 0;
  #replannedAt = Number.NEGATIVE_INFINITY;
  #pause = REPLAN_PAUSE_MS;
  #fast = 0;

  constructor(compiled: Compiled<string>) {
    this.compiled = compiled;
    this.text = compiled.text;
  }

  took(ms: number): void {
    if (ms < SLOW_MS) {
      if (++this.#fast >= FAST_STREAK) this.#pause = REPLAN_PAUSE_MS;
      return;
    }
    this.#fast = 0;
    if (performance.now() - this.#replannedAt < this.#pause) return;
    // The server keeps every text's plan, up to megabytes: where planning anew does not help, it is soon left alone.
    this.#pause = Math.min(this.#pause * 4, MAX_REPLAN_PAUSE_MS);
    this.#replannedAt = performance.now();
    this.text = `${this.compiled.text} /* ${++this.#generation} */`;
  }
}

/** Through `db.execute`: node-postgres, PGlite, Bun SQL, Neon, or a caller's open transaction. */
export class DrizzleExecutor implements Executor {
  readonly relations: Relations;
  readonly #db: DrizzleLike;
  readonly #inTransaction: boolean;
  readonly #timeout: number;

  constructor(db: DrizzleLike, relations: Relations, options: { inTransaction: boolean; timeout: number }) {
    this.#db = db;
    this.relations = relations;
    this.#inTransaction = options.inTransaction;
    this.#timeout = options.timeout;
  }

  run<K extends string>(
    statement: Statement<K>,
    values: Readonly<Record<K, Param>>,
    options: RunOptions = {},
  ): Promise<Row[]> {
    const send = async () => rowsOf(await this.#db.execute(bound(statement, this.relations, values)));
    // A failed statement has ended the caller's transaction: sending it again there cannot help.
    if (this.#inTransaction) {
      return send().catch((error) => {
        throw translate(error, statement.name);
      });
    }
    return withRetries(statement, () => answered(send(), options.timeout ?? this.#timeout, statement.name));
  }
}

/** Drivers answer with an array, or with an object that holds one; a row is an array or an object in column order. */
function rowsOf(result: unknown): Row[] {
  const found = Array.isArray(result) ? result : ((result as { rows?: unknown }).rows ?? []);
  const rows = withoutHoles(found as Record<string, unknown>[]);
  const names = ours(Object.keys(rows[0] ?? {}));
  return rows.map((row) => names.map((name) => textOf(row[name])));
}

/** Without what a transform of the app's adds to each row. It may also have changed how the columns are called. */
function ours(names: string[]): string[] {
  const plain = names.filter((name) => /^c?\d+$/i.test(name));
  return plain.length > 0 ? plain : names;
}

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  // An app may have told its driver to read null as undefined.
  if (value === null || value === undefined) return null;
  throw new TypeError(
    'The database driver was told to read texts as something else (by a parser for type 25). Through Drizzle the store ' +
      'reads all values as texts: leave that parser away.',
  );
}

/**
 * When a connection dies in the middle of an answer, postgres.js goes on counting rows from there on the next one: an
 * answer then begins with as many holes.
 */
function withoutHoles<T>(rows: T[]): T[] {
  return rows.length > 0 && !(0 in rows) ? rows.filter(() => true) : rows;
}

async function withRetries(
  statement: Pick<Statement<string>, 'name' | 'repeatable'>,
  send: () => Promise<Row[]>,
): Promise<Row[]> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      const fault = faultOf(error);
      const again = fault === 'rolled back' || (fault === 'unknown' && statement.repeatable);
      const delay = RETRY_DELAYS[attempt];
      if (!again || delay === undefined) throw translate(error, statement.name);
      await new Promise((resolve) => setTimeout(resolve, delay * (0.5 + Math.random())));
    }
  }
}

/**
 * A half-open connection answers nothing at all: the caller must not wait for the kernel to notice. The statement is
 * not cancelled from here: a cancel request stops whatever the backend runs by then, which in a pipeline may be
 * somebody else's. Our own connections carry a `statement_timeout` for the server's side.
 */
function answered<T>(work: Promise<T>, ms: number, name: string, silent?: () => void): Promise<T> {
  return withDeadline(work, ms, () => {
    silent?.();
    return new ConnectionError(`"${name}" did not answer within ${ms} ms.`);
  });
}

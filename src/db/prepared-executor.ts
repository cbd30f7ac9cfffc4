import type postgres from 'postgres';
import { condemningCode, isLoss } from './errors.js';
import { answered, attempt, type Executor, type RunOptions, withoutHoles } from './executor.js';
import { changesRows, query, template, textRows } from './postgres-js.js';
import { type Compiled, compile, type Param, type Row, type Statement } from './statement.js';
import type { OnStatement } from './statement-event.js';
import type { Tables } from './tables.js';
import { Unsent } from './unsent.js';

export interface PreparedOptions {
  /** False behind a pooler that cannot keep prepared statements. */
  prepare: boolean;
  /** ms. */
  timeout: number;
  /** Called with a client on which no more can be done, and why: a code that condemns it, NO_ANSWER or STUCK. */
  unusable?: (client: postgres.Sql, reason: string) => void;
  onStatement?: OnStatement | undefined;
}

/** The reason for `unusable`: a statement was left without any answer. */
export const NO_ANSWER = 'a statement got no answer';
/** Likewise: statements wait for a lost connection that is not made anew. */
export const STUCK = 'a lost connection was not made anew';

/**
 * Prepared and pipelined over postgres.js: one round trip per statement once it is known, and many at once on a
 * connection. `values()` takes rows as arrays, past the app's column transforms; `raw()` also past the others.
 */
export class PreparedExecutor implements Executor {
  readonly tables: Tables;
  readonly #client: () => postgres.Sql;
  readonly #options: PreparedOptions;
  readonly #plans = new Map<Statement<string>, Plan>();
  readonly #unsent: Unsent;

  constructor(client: () => postgres.Sql, tables: Tables, options: PreparedOptions) {
    this.#client = client;
    this.tables = tables;
    this.#options = options;
    this.#unsent = new Unsent({ client, stuck: (stuck) => options.unusable?.(stuck, STUCK) });
  }

  run<K extends string>(
    statement: Statement<K>,
    values: Readonly<Record<K, Param>>,
    options: RunOptions = {},
  ): Promise<Row[]> {
    const known = statement as unknown as Statement<string>;
    let plan = this.#plans.get(known);
    if (!plan) {
      plan = new Plan(compile(known, this.tables));
      this.#plans.set(known, plan);
    }
    const params = plan.compiled.bind(values);
    const limit = options.timeout ?? this.#options.timeout;
    const ready = plan;
    return attempt(known, () => this.#send(ready, params, limit), {
      retry: true,
      onStatement: this.#options.onStatement,
    });
  }

  async #send(plan: Plan, params: (string | null)[], limit: number): Promise<Row[]> {
    const { prepare, unusable } = this.#options;
    const began = performance.now();
    const client = this.#client();
    const pending = query(client, plan.strings, params);
    const changed = changesRows(client);
    const rows = (changed ? pending.raw() : pending.values()) as unknown as Promise<Row[] & { columns: unknown[] }>;
    const sent = this.#unsent.watch(client, pending, rows);
    const answer = await answered(sent, limit, plan.compiled.name, () => unusable?.(client, NO_ANSWER)).catch(
      (error) => {
        if (isLoss(error)) this.#unsent.lost(client);
        const code = unusable && condemningCode(error);
        if (code !== undefined) unusable?.(client, code);
        throw error;
      },
    );
    if (prepare) plan.took(performance.now() - began);
    const whole = withoutHoles(answer);
    return changed ? textRows(whole, answer.columns.length) : whole;
  }
}

/** A statement this slow may be running on a plan that was made when its table was empty. */
const SLOW_MS = 50;
const REPLAN_PAUSE_MS = 10_000;
const MAX_REPLAN_PAUSE_MS = 3_600_000;
/** After so many fast ones in a row, a slow one may replan again at once. */
const FAST_STREAK = 100;

/**
 * A prepared statement's text. The server keeps a statement's plan until the next analyze, however the table has
 * grown meanwhile: so a slow one is sent under a slightly different text, and planned anew. Rarely enough that the
 * old ones do not pile up.
 */
class Plan {
  readonly compiled: Compiled<string>;
  strings: TemplateStringsArray;
  #generation = 0;
  #replannedAt = Number.NEGATIVE_INFINITY;
  #pause = REPLAN_PAUSE_MS;
  #fast = 0;

  constructor(compiled: Compiled<string>) {
    this.compiled = compiled;
    this.strings = template(...compiled.chunks);
  }

  took(ms: number): void {
    if (ms < SLOW_MS) {
      if (++this.#fast >= FAST_STREAK) this.#pause = REPLAN_PAUSE_MS;
      return;
    }
    this.#fast = 0;
    if (performance.now() - this.#replannedAt < this.#pause) return;
    // The server keeps every text's plan, up to megabytes: where planning anew does not help, it soon stops.
    this.#pause = Math.min(this.#pause * 4, MAX_REPLAN_PAUSE_MS);
    this.#replannedAt = performance.now();
    const { chunks } = this.compiled;
    this.strings = template(...chunks.slice(0, -1), `${chunks.at(-1)} /* plan ${++this.#generation} */`);
  }
}

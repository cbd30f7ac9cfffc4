import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectionError } from '../model/errors.js';
import { withDeadline } from './deadline.js';
import { faultOf, translate } from './errors.js';
import type { Param, Row, Statement } from './statement.js';
import type { OnStatement } from './statement-event.js';
import type { Tables } from './tables.js';

/** Runs statements on one database, or inside one transaction of a caller. */
export interface Executor {
  readonly tables: Tables;
  run<K extends string>(
    statement: Statement<K>,
    values: Readonly<Record<K, Param>>,
    options?: RunOptions,
  ): Promise<Row[]>;
}

export interface RunOptions {
  /** ms after which the caller gets an error. Default: the executor's own. */
  timeout?: number;
}

export const DEFAULT_STATEMENT_TIMEOUT = 30_000;
/**
 * Between tries, in ms: about 3 s altogether. A connection is made anew in milliseconds, so no caller waits much longer
 * than that for it, also where one after the other is lost.
 */
const RETRY_DELAYS = [25, 50, 100, ...Array.from({ length: 14 }, () => 200)];

/** Sends a statement, again where that is safe, and reports how it went. Rejects with one of the package's errors. */
export async function attempt(
  statement: Pick<Statement<string>, 'name' | 'repeatable'>,
  send: () => Promise<Row[]>,
  { retry, onStatement }: { retry: boolean; onStatement?: OnStatement | undefined },
): Promise<Row[]> {
  const began = onStatement && performance.now();
  const report = (rows: number, error?: unknown) => {
    if (!onStatement) return;
    const event = { name: statement.name, ms: performance.now() - (began as number), rows };
    onStatement(error === undefined ? event : { ...event, error });
  };
  for (let failures = 0; ; failures++) {
    try {
      const rows = await send();
      report(rows.length);
      return rows;
    } catch (error) {
      const fault = faultOf(error);
      const again = retry && (fault === 'rolled back' || (fault === 'unknown' && statement.repeatable));
      const delay = RETRY_DELAYS[failures];
      if (!again || delay === undefined) {
        const translated = translate(error, statement.name);
        report(0, translated);
        throw translated;
      }
      await sleep(delay * (0.5 + Math.random()));
    }
  }
}

/**
 * The statement's answer, or `ConnectionError` after `ms`. A half-open connection answers nothing at all: the caller
 * must not wait for the kernel to notice. The statement is not cancelled from here: a cancel request stops whatever
 * the backend runs by then, which in a pipeline may be another caller's. Our own connections carry a
 * `statement_timeout` for the server's side.
 *
 * @param silent called when the time has passed
 */
export function answered<T>(work: Promise<T>, ms: number, name: string, silent?: () => void): Promise<T> {
  return withDeadline(work, ms, () => {
    silent?.();
    return new ConnectionError(`"${name}" did not answer within ${ms} ms.`);
  });
}

/**
 * When a connection dies in the middle of an answer, postgres.js goes on counting rows from there on the next one: an
 * answer then begins with as many holes.
 */
export function withoutHoles<T>(rows: T[]): T[] {
  return rows.length > 0 && !(0 in rows) ? rows.filter(() => true) : rows;
}

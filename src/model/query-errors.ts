import { fieldOf } from './read-field.js';

/**
 * Errors of queries, as Postgres drivers and Drizzle throw them. What a query was given (its parameters, and what the
 * server repeats of them) may be personal data: it is neither stored nor logged.
 */

/** SQLSTATEs of Postgres itself; no system's code such as EPIPE, which has five characters too. */
const SQLSTATE = /^(?:[0-5][0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/;

/** `code` in postgres.js, node-postgres, Neon and PGlite; `errno` in Bun. */
export function sqlStateOf(error: unknown): string | undefined {
  return [fieldOf(error, 'code'), fieldOf(error, 'errno')].find((code) => code !== undefined && SQLSTATE.test(code));
}

/** postgres.js calls it `constraint_name`, the others `constraint`. */
export function constraintOf(error: unknown): string | undefined {
  return fieldOf(error, 'constraint_name') ?? fieldOf(error, 'constraint');
}

const FAILED_QUERY = 'Failed query: ';
const PARAMS = '\nparams: ';
const FRAME = /\n {4}at [^\n]*:\d+:\d+/g;

/** The error that Drizzle puts around the driver's: it says nothing but the query and its parameters. */
export function isQueryWrapper(error: unknown): boolean {
  return fieldOf(error, 'query') !== undefined && (fieldOf(error, 'message')?.startsWith(FAILED_QUERY) ?? false);
}

/** A message without the parameters that Drizzle appends to the query, and what follows them. */
export function withoutParams(message: string): string {
  const query = message.indexOf(FAILED_QUERY);
  const params = query < 0 ? -1 : message.indexOf(PARAMS, query);
  return params < 0 ? message : message.slice(0, params);
}

/** The same in a stack, whose frames remain. */
export function stackWithoutParams(stack: string): string {
  let kept = '';
  for (let from = 0; ; ) {
    const rest = stack.slice(from);
    const clean = withoutParams(rest);
    kept += clean;
    if (clean.length === rest.length) return kept;
    FRAME.lastIndex = from + clean.length;
    from = FRAME.exec(stack)?.index ?? stack.length;
  }
}

/** The quotation marks of the server's languages. */
const QUOTED = /".*"|».*«|«.*»|„.*“|“.*”|「.*」/gs;
/** They quote names of encodings only. */
const ENCODINGS = ['22021', '22P05'];

/**
 * What a driver's error says, without values. Messages of class 22 (data exceptions) quote what could not be read, such
 * as `invalid input syntax for type integer: "…"`; all others name tables, columns and constraints. The fields
 * `detail` and `where`, which repeat rows and parameters, are never read.
 */
export function queryMessage(error: unknown): string | undefined {
  const message = fieldOf(error, 'message');
  const code = sqlStateOf(error);
  if (message === undefined || !code?.startsWith('22') || ENCODINGS.includes(code)) return message;
  return message.replace(QUOTED, '"…"');
}

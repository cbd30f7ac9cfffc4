import { ConnectionError, ConveyorError, SchemaError } from '../model/errors.js';

/** Codes of a connection that is lost or cannot be made: of postgres.js, node-postgres, the system and Postgres. */
const CONNECTION_CODES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'ETIMEDOUT',
  'EPIPE',
  '08000', // connection_exception
  '08003', // connection_does_not_exist
  '08006', // connection_failure
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '53300', // too_many_connections
]);

/** The server has not run the statement, or has rolled it back: it may be sent again as it is. */
const ROLLED_BACK_CODES = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '25006', // read_only_sql_transaction: the old primary of a failover
  '57P03', // cannot_connect_now
  '53300', // too_many_connections
  'ECONNREFUSED',
]);

const MAX_CAUSES = 5;

/** The first defined answer of `read` for an error or one of its causes. */
function inCauses<T>(error: unknown, read: (error: object) => T | undefined): T | undefined {
  let current = error;
  for (let depth = 0; current && typeof current === 'object' && depth < MAX_CAUSES; depth++) {
    const answer = read(current);
    if (answer !== undefined) return answer;
    current = (current as { cause?: unknown }).cause;
  }
  return undefined;
}

const stringOrUndefined = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** The SQLSTATE, or the code of the driver or the system, of an error or its cause; not the code of a ConveyorError. */
export function codeOf(error: unknown): string | undefined {
  return inCauses(error, (e) =>
    e instanceof ConveyorError ? undefined : stringOrUndefined((e as { code?: unknown }).code),
  );
}

/** postgres.js calls it `constraint_name`, node-postgres `constraint`. */
function constraintOf(error: unknown): string | undefined {
  return inCauses(error, (e) => {
    const { constraint_name, constraint } = e as Record<string, unknown>;
    return stringOrUndefined(constraint_name ?? constraint);
  });
}

/** A row lock was not granted within `lock_timeout`. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03';

/** Another job has taken the deduplication key meanwhile. */
export function isDeduplicationConflict(error: unknown): boolean {
  return codeOf(error) === '23505' && constraintOf(error) === 'conveyor_jobs_deduplication_idx';
}

/**
 * Classes of SQLSTATE that concern the moment, not the statement: connections, conflicts, resources (a full disk, memory),
 * objects that are in use, an operator's intervention, the system. And a server that is read-only.
 */
const PASSING = /^(08|40|53|55|57|58)|^25006$/;

/**
 * The server refused the statement for what it says: sent again as it is, it would be refused again. Errors without an
 * SQLSTATE are no refusals, because nothing is known about them.
 */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !PASSING.test(code) && !CONNECTION_CODES.has(code);
}

/** What is known about the effect of a failed statement. */
export type Fault =
  /** Certainly none: it may be sent again. */
  | 'rolled back'
  /** The connection was lost before the answer: it may have taken effect. */
  | 'unknown'
  /** None, and it would fail again: the statement itself, or its values, were refused. */
  | 'refused';

export function faultOf(error: unknown): Fault {
  const code = codeOf(error);
  if (code === undefined) return 'refused';
  if (ROLLED_BACK_CODES.has(code)) return 'rolled back';
  return CONNECTION_CODES.has(code) ? 'unknown' : 'refused';
}

/**
 * Makes a driver's error a ConveyorError, with the original as its cause: ConnectionError for a lost connection or a
 * cancelled statement, SchemaError for missing tables or columns, else the code `PG_<code>`. Errors without a code are
 * returned as they are.
 */
export function translate(error: unknown, statementName: string): unknown {
  if (error instanceof ConveyorError) return error;
  const code = codeOf(error);
  if (code === undefined) return error;
  const message = innermostMessage(error);
  const options = { cause: error };
  if (CONNECTION_CODES.has(code)) {
    return new ConnectionError(`The connection failed (${code}) during "${statementName}": ${message}`, options);
  }
  switch (code) {
    case '57014': // query_canceled
      return new ConnectionError(
        `"${statementName}" was cancelled, most likely by its time limit: ${message}`,
        options,
      );
    case '42P01': // undefined_table
    case '42703': // undefined_column
    case '3F000': // invalid_schema_name
      return new SchemaError(
        `The conveyor tables are missing or too old for this version (${message}). Run the migrations: ` +
          'connect() with autoMigrate, migrate() of "@conveyor/store-pg/migrate", or drizzle-kit migrate.',
        options,
      );
    default:
      return new ConveyorError(`"${statementName}" failed (${code}): ${message}`, { ...options, code: `PG_${code}` });
  }
}

/** Of the driver's own error: the wrapper that Drizzle puts around it repeats the whole query. */
function innermostMessage(error: unknown): string {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  return current instanceof Error ? current.message || current.name : String(current);
}

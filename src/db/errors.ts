import { ConnectionError, ConveyorError, SchemaError } from '../model/errors.js';

/** What postgres.js, node-postgres and the operating system call a connection that is not there. */
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
  '08000',
  '08003',
  '08006',
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '53300', // too_many_connections
]);

/** The statement was rolled back by the server and may be sent again as it is. */
const CONFLICT_CODES = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '25006', // read_only_sql_transaction: a failover's old primary
]);

/** The SQLSTATE or the driver's code of an error, however often it was wrapped. */
export function codeOf(error: unknown): string | undefined {
  for (let e = error, depth = 0; e && typeof e === 'object' && depth < 5; depth++) {
    const { code, cause } = e as { code?: unknown; cause?: unknown };
    if (typeof code === 'string' && !(e instanceof ConveyorError)) return code;
    e = cause;
  }
  return undefined;
}

function constraintOf(error: unknown): string | undefined {
  for (let e = error, depth = 0; e && typeof e === 'object' && depth < 5; depth++) {
    const { constraint_name, constraint, cause } = e as Record<string, unknown>;
    const name = constraint_name ?? constraint;
    if (typeof name === 'string') return name;
    e = cause;
  }
  return undefined;
}

/** A row that was wanted has been locked by somebody for too long. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03';

/** Somebody else holds the deduplication key by now. */
export function isDeduplicationConflict(error: unknown): boolean {
  return codeOf(error) === '23505' && constraintOf(error) === 'conveyor_jobs_deduplication_idx';
}

/** How far a failed statement may have got. */
export type Fault =
  /** Rolled back for certain: it may be sent again. */
  | 'rolled back'
  /** The answer was lost with the connection: it may have taken effect. */
  | 'unknown'
  /** Refused for what it says. */
  | 'refused';

export function faultOf(error: unknown): Fault {
  const code = codeOf(error);
  if (code === undefined) return 'refused';
  if (CONFLICT_CODES.has(code) || code === '53300' || code === '57P03' || code === 'ECONNREFUSED') return 'rolled back';
  if (CONNECTION_CODES.has(code)) return 'unknown';
  return 'refused';
}

/** A driver's error as one of ours, with the original as its cause. */
export function translate(error: unknown, statementName: string): unknown {
  if (error instanceof ConveyorError) return error;
  const code = codeOf(error);
  if (code === undefined) return error;
  const said = messageOf(error);
  if (CONNECTION_CODES.has(code)) {
    return new ConnectionError(`The database connection failed (${code}) during "${statementName}": ${said}`, {
      cause: error,
    });
  }
  if (code === '57014') {
    return new ConnectionError(`"${statementName}" was cancelled, most likely by its time limit: ${said}`, {
      cause: error,
    });
  }
  if (code === '42P01' || code === '42703' || code === '3F000') {
    return new SchemaError(
      `The conveyor tables are missing or too old for this version (${said}). Run the migrations: ` +
        'connect() with autoMigrate, migrate() of "@conveyor/store-pg/migrate", or drizzle-kit migrate.',
      { cause: error },
    );
  }
  return new ConveyorError(`"${statementName}" failed (${code}): ${said}`, { code: `PG_${code}`, cause: error });
}

function messageOf(error: unknown): string {
  let e = error;
  // Drizzle's wrapper repeats the whole query; the driver's own words are inside.
  while (e instanceof Error && e.cause instanceof Error) e = e.cause;
  return e instanceof Error ? e.message || e.name : String(e);
}

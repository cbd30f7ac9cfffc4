import { ConnectionError, ConveyorError, SchemaError } from '../model/errors.js';
import { errorText } from '../model/payload/error-text.js';
import { constraintOf, isQueryWrapper, queryMessage, sqlStateOf } from '../model/query-errors.js';
import { fieldOf } from '../model/read-field.js';

/** What is known about the effect of a failed statement. */
export type Fault =
  /** Certainly none: it may be sent again. */
  | 'rolled back'
  /** The connection was lost before the answer: it may have taken effect. */
  | 'unknown'
  /** None, and sent again at once it would fail again. */
  | 'refused';

/** What the code of a failed statement says. */
interface Meaning {
  readonly fault: Fault;
  /** It concerns the moment, not the statement: the same statement may succeed later. */
  readonly passes: boolean;
  /** The connection was lost, or cannot be made. */
  readonly lost?: true;
  /** Whatever is sent on this connection, or on others that were opened with it, fails as well: open new ones. */
  readonly condemns?: true;
}

const LOST: Meaning = { fault: 'unknown', passes: true, lost: true };
const LOST_SERVER: Meaning = { ...LOST, condemns: true };
const NOT_CONNECTED: Meaning = { fault: 'rolled back', passes: true, lost: true };
const CONFLICT: Meaning = { fault: 'rolled back', passes: true };
const PASSING: Meaning = { fault: 'refused', passes: true };
const REFUSED: Meaning = { fault: 'refused', passes: false };

/**
 * By SQLSTATE, or by the first two characters of one (its class); and by the codes of postgres.js, node-postgres and
 * the system. Every other SQLSTATE is a refusal.
 */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  '08': LOST_SERVER, // connection exceptions
  25006: { ...CONFLICT, condemns: true }, // read_only_sql_transaction: a session from before a failover
  40: PASSING, // transaction rollback
  40001: CONFLICT, // serialization_failure
  '40P01': CONFLICT, // deadlock_detected
  53: PASSING, // insufficient resources: a full disk, memory
  53300: NOT_CONNECTED, // too_many_connections
  55: PASSING, // object not in prerequisite state: a lock
  57: PASSING, // operator intervention
  '57P01': LOST_SERVER, // admin_shutdown
  '57P02': LOST_SERVER, // crash_shutdown
  '57P03': { ...NOT_CONNECTED, condemns: true }, // cannot_connect_now
  '57P05': LOST, // idle_session_timeout
  58: PASSING, // system errors
  CONNECTION_CLOSED: LOST,
  CONNECTION_ENDED: LOST,
  CONNECTION_DESTROYED: LOST,
  CONNECT_TIMEOUT: LOST,
  NOT_SENT: NOT_CONNECTED,
  ECONNREFUSED: NOT_CONNECTED,
  ECONNRESET: LOST,
  ENOTFOUND: LOST,
  ETIMEDOUT: LOST,
  EPIPE: LOST,
};

const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code);

/** REFUSED for what the table does not know. */
function meaningOf(code: string): Meaning {
  return MEANINGS[code] ?? (isSqlState(code) ? MEANINGS[code.slice(0, 2)] : undefined) ?? REFUSED;
}

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

/** The SQLSTATE, or the code of the driver or the system, of an error or its cause; not the code of a ConveyorError. */
export function codeOf(error: unknown): string | undefined {
  return inCauses(error, (e) => (e instanceof ConveyorError ? undefined : (sqlStateOf(e) ?? fieldOf(e, 'code'))));
}

/** A row lock was not granted within `lock_timeout`. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03';

/** Another job has taken the deduplication key meanwhile. */
export function isDeduplicationConflict(error: unknown): boolean {
  return codeOf(error) === '23505' && inCauses(error, constraintOf) === 'conveyor_jobs_deduplication_idx';
}

/**
 * The server refused the statement for what it says: sent again as it is, it would be refused again. Errors without an
 * SQLSTATE are no refusals, because nothing is known about them.
 */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && isSqlState(code) && !meaningOf(code).passes;
}

/** The trouble is known to concern the moment: the same statement may succeed later. */
export function isPassing(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && meaningOf(code).passes;
}

export function faultOf(error: unknown): Fault {
  const code = codeOf(error);
  return code === undefined ? 'refused' : meaningOf(code).fault;
}

/** The connection was lost, or could not be made. */
export function isLoss(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && meaningOf(code).lost === true;
}

/** The code, if it says that no statement will succeed on this connection: it is on the wrong server, or has died. */
export function condemningCode(error: unknown): string | undefined {
  const code = codeOf(error);
  return code !== undefined && meaningOf(code).condemns ? code : undefined;
}

/**
 * Makes a driver's error a ConveyorError, with the original as its cause: ConnectionError for a lost connection or a
 * cancelled statement, SchemaError for missing tables or columns, else the code `PG_<code>`. Errors without a code are
 * returned as they are. Drizzle's error around the driver's, which has the parameters, is left out.
 */
export function translate(error: unknown, statementName: string): unknown {
  if (error instanceof ConveyorError) return error;
  const cause = unwrapped(error);
  const code = codeOf(cause);
  if (code === undefined) return cause;
  const message = innermostMessage(cause);
  const options = { cause };
  if (meaningOf(code).lost) {
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
        `The conveyor tables are missing or too old for this version (${message}). connect() says what is missing and ` +
          'how to make it; were they dropped or moved while the store was connected?',
        options,
      );
    default:
      return new ConveyorError(`"${statementName}" failed (${code}): ${message}`, { ...options, code: `PG_${code}` });
  }
}

/** The driver's own error. */
function unwrapped(error: unknown): unknown {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && isQueryWrapper(current); depth++) {
    const { cause } = current as { cause?: unknown };
    if (fieldOf(cause, 'message') === undefined) break;
    current = cause;
  }
  return current;
}

function innermostMessage(error: unknown): string {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES; depth++) {
    const { cause } = current as { cause?: unknown };
    if (fieldOf(cause, 'message') === undefined) break;
    current = cause;
  }
  return queryMessage(current) ?? errorText(current).message;
}

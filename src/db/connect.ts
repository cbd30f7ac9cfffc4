import postgres from 'postgres';
import { ConnectionError } from '../model/errors.js';
import { withDeadline } from './deadline.js';
import { codeOf } from './errors.js';

/** A URL, or options of postgres.js. */
export type ConnectionOptions = string | postgres.Options<Record<string, postgres.PostgresType>>;

// biome-ignore lint/suspicious/noExplicitAny: postgres.js types its options by the user's own types
export type PostgresOptions = postgres.Options<any>;

const APPLICATION_NAME = 'conveyor';
/** Statements are batched, so a few connections suffice; more only make commits wait for each other. */
const POOL_SIZE = 4;
/** An idle process should keep its LISTEN connection and little else. */
const IDLE_TIMEOUT_S = 20;
const CONNECT_TIMEOUT_S = 10;
/** Time for the first answer, beyond the driver's own `connect_timeout`. */
const FIRST_ANSWER_MS = 2_000;

/**
 * Session settings of the store's own pool. Sequential and bitmap scans are off because a plan that was cached while
 * the jobs table was small would read the whole table after it has grown, until the next analyze; every hot statement
 * has an index in the order it needs. Generic plans from the start: otherwise each connection plans each statement five
 * times over, which takes longer than running it, and every one of them is made so that its generic plan is right. And
 * no JIT, which may take a hundred times as long as the statement. `statement_timeout` (ms) ends a statement on the server after its caller has
 * stopped waiting. The others are the server's own defaults, which a role or database may have changed: under another
 * isolation, statements fail where they meet a concurrent change; a short lock timeout ends what may wait; and fewer
 * digits change a job's progress.
 */
const poolSettings = (statementTimeout: number) => ({
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  plan_cache_mode: 'force_generic_plan',
  jit: 'off',
  statement_timeout: String(statementTimeout),
  lock_timeout: '0',
  default_transaction_isolation: 'read committed',
  extra_float_digits: '1',
});

/** Seconds before the driver connects again, with jitter. Its own default grows to 20 s after a handful of failures. */
const reconnectDelay = (failures: number) => Math.min(0.5, 0.05 * 2 ** failures) * (0.5 + Math.random() / 2);

const DEFAULTS: PostgresOptions = {
  connect_timeout: CONNECT_TIMEOUT_S,
  onnotice: () => {},
  // No array parameters are ever sent, so the driver need not read their types at every connect.
  fetch_types: false,
  // Statements have a backoff of their own.
  backoff: reconnectDelay,
};

/**
 * Opens a pool and verifies that it answers.
 *
 * @param patience how long it may take, in ms. Default: the driver's `connect_timeout`, and time for an answer
 * @throws ConnectionError when the server cannot be reached
 */
export async function openPool(
  connection: ConnectionOptions,
  statementTimeout: number,
  patience?: number,
): Promise<postgres.Sql> {
  const defaults: PostgresOptions = { max: POOL_SIZE, idle_timeout: IDLE_TIMEOUT_S };
  const start = (settings: Record<string, string>) => open(connection, settings, defaults);
  return openVerified(start, connection, poolSettings(statementTimeout), patience);
}

/**
 * Opens one connection that stays open, for LISTEN or for migrations. Nothing is prepared on it: the few statements it
 * runs would keep plans that were made when the tables were small.
 *
 * @throws ConnectionError when the server cannot be reached
 */
export async function openSingle(connection: ConnectionOptions, extra: PostgresOptions = {}): Promise<postgres.Sql> {
  // Without `debug` the driver remembers the origin of every text for the life of the process. There is no limit to the
  // texts that are sent here: LISTEN names its channel.
  const defaults: PostgresOptions = { debug: true };
  const forced: PostgresOptions = { ...extra, max: 1, idle_timeout: 0, max_lifetime: null, prepare: false };
  return openVerified((settings) => open(connection, settings, defaults, forced), connection, {});
}

/** Ends a client within `graceSeconds`, whatever its connections are doing. Never rejects. */
export async function closeClient(client: postgres.Sql, graceSeconds = 5): Promise<void> {
  await client.end({ timeout: graceSeconds }).catch(() => {});
}

function open(
  connection: ConnectionOptions,
  settings: Record<string, string>,
  defaults: PostgresOptions,
  forced: PostgresOptions = {},
): postgres.Sql {
  const url = typeof connection === 'string' ? connection : undefined;
  const given: PostgresOptions = typeof connection === 'string' ? {} : connection;
  // The driver reads a parameter of the URL (`?max=9&prepare=false`) only where its options do not set it.
  const ours = Object.entries({ ...DEFAULTS, ...defaults }).filter(([name]) => !hasParameter(url, name));
  const options: PostgresOptions = {
    ...Object.fromEntries(ours),
    ...given,
    ...forced,
    connection: { application_name: APPLICATION_NAME, ...settings, ...given.connection },
  };
  // postgres.js takes its second argument as the options only when the first is a URL.
  return url === undefined ? postgres(options) : postgres(url, options);
}

function hasParameter(url: string | undefined, name: string): boolean {
  return url !== undefined && new RegExp(`[?&]${name}=`).test(url);
}

async function openVerified(
  start: (settings: Record<string, string>) => postgres.Sql,
  connection: ConnectionOptions,
  settings: Record<string, string>,
  patience = Number.POSITIVE_INFINITY,
): Promise<postgres.Sql> {
  const client = start(settings);
  try {
    // Without a limit, a server that accepts and closes every connection would be retried for ever.
    const limit = Math.min(patience, FIRST_ANSWER_MS + 1_000 * (Number(client.options.connect_timeout) || 0));
    await withDeadline(client`select 1`.simple(), limit, () => new ConnectionError(`no answer within ${limit} ms`));
    return client;
  } catch (error) {
    await closeClient(client, 0);
    // Some poolers refuse start-up settings that they do not know; the store works without them.
    const refused = codeOf(error) === '08P01' || /startup parameter/i.test(String((error as Error).message));
    if (refused && Object.keys(settings).length > 0) return openVerified(start, connection, {}, patience);
    throw new ConnectionError(
      `Cannot connect to Postgres at ${addressOf(connection)}: ${(error as Error).message || codeOf(error)}${hintFor(error)}`,
      { cause: error },
    );
  }
}

/** Parameters that the driver does not know, it sends to the server as settings. */
function hintFor(error: unknown): string {
  if (codeOf(error) !== '42704') return '';
  return '. It comes from the parameters of the URL or from `connection: { connection: {…} }`: remove it there';
}

/** Host, port and, for a URL, database; without user and password. */
function addressOf(connection: ConnectionOptions): string {
  if (typeof connection === 'string') {
    try {
      const url = new URL(connection);
      return `${url.hostname || 'localhost'}:${url.port || 5432}${url.pathname}`;
    } catch {
      return 'the given connection URL (it cannot be parsed)';
    }
  }
  return `${connection.host ?? process.env['PGHOST'] ?? 'localhost'}:${connection.port ?? process.env['PGPORT'] ?? 5432}`;
}

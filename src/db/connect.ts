import postgres from 'postgres';
import { ConnectionError } from '../model/errors.js';
import { codeOf } from './errors.js';

/** A URL, or options of postgres.js. */
export type ConnectionOptions = string | postgres.Options<Record<string, postgres.PostgresType>>;

// biome-ignore lint/suspicious/noExplicitAny: postgres.js types its options by the user's own types
export type PostgresOptions = postgres.Options<any>;

const APPLICATION_NAME = 'conveyor';
/** Batches keep statements few: more connections than this only make commits wait for each other. */
const POOL_SIZE = 4;
/** An idle process should hold its listener and little else. */
const IDLE_TIMEOUT_S = 20;
/** Beyond the driver's own `connect_timeout`, for the first answer. */
const CONNECT_LIMIT_MS = 2_000;

/**
 * Settings of the connections that only this package uses. Sequential and bitmap scans are off because a plan cached
 * while the jobs table was small would read all of it once it has grown, until the next analyze; every hot statement
 * has an index whose order it wants. The time limit stops a statement on the server when its caller has given up.
 */
const sessionSettings = (timeout: number) => ({
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  statement_timeout: String(timeout),
});

/** s. */
const reconnectPause = (failures: number) => Math.min(0.5, 0.05 * 2 ** failures) * (0.5 + Math.random() / 2);

export function clientOptions(connection: ConnectionOptions): [string | undefined, PostgresOptions] {
  return typeof connection === 'string' ? [connection, {}] : [undefined, connection];
}

function open(
  connection: ConnectionOptions,
  settings: Record<string, string>,
  defaults: PostgresOptions,
  forced: PostgresOptions = {},
): postgres.Sql {
  const [url, given] = clientOptions(connection);
  const ours: PostgresOptions = {
    connect_timeout: 10,
    onnotice: () => {},
    // No array parameters are ever sent, so the driver need not ask for their types at every connect.
    fetch_types: false,
    // Who asks backs off himself. The driver's own pauses are up to 20 s after a handful of failures of any connection,
    // and would go on when the server has long been back.
    backoff: reconnectPause,
    ...defaults,
  };
  const options: PostgresOptions = {
    // What a URL says (`?max=9&prepare=false`) the driver reads itself, where its options do not say otherwise.
    ...Object.fromEntries(Object.entries(ours).filter(([name]) => !saysUrl(url, name))),
    ...given,
    ...forced,
    connection: { application_name: APPLICATION_NAME, ...settings, ...given.connection },
  };
  // postgres.js takes its second argument as the options only beside a URL.
  return url === undefined ? postgres(options) : postgres(url, options);
}

function saysUrl(url: string | undefined, name: string): boolean {
  return url !== undefined && new RegExp(`[?&]${name}=`).test(url);
}

/** Opens a pool and proves that it answers. Rejects with `ConnectionError` when the server cannot be reached. */
export async function openPool(connection: ConnectionOptions, timeout: number): Promise<postgres.Sql> {
  const defaults: PostgresOptions = { max: POOL_SIZE, idle_timeout: IDLE_TIMEOUT_S };
  return probed(connection, (settings) => open(connection, settings, defaults), sessionSettings(timeout));
}

/** One connection that stays: for LISTEN, and for migrations. */
export async function openSingle(connection: ConnectionOptions, extra: PostgresOptions = {}): Promise<postgres.Sql> {
  // A pool's options come without the listeners of its owner.
  const forced: PostgresOptions = { ...extra, max: 1, idle_timeout: 0, max_lifetime: null, prepare: false };
  return probed(connection, (settings) => open(connection, settings, {}, forced), {});
}

async function probed(
  connection: ConnectionOptions,
  start: (settings: Record<string, string>) => postgres.Sql,
  settings: Record<string, string>,
): Promise<postgres.Sql> {
  const client = start(settings);
  try {
    await answerWithin(client, CONNECT_LIMIT_MS + 1_000 * (Number(client.options.connect_timeout) || 0));
    return client;
  } catch (error) {
    await closeClient(client, 0);
    // A pooler refuses settings at start-up that it does not know: do without them.
    const refused = codeOf(error) === '08P01' || /startup parameter/i.test(String((error as Error).message));
    if (refused && Object.keys(settings).length > 0) return probed(connection, start, {});
    throw new ConnectionError(
      `Cannot connect to Postgres at ${describe(connection)}: ${(error as Error).message || codeOf(error)}`,
      { cause: error },
    );
  }
}

/** A server that closes each connection without a word would be tried again for ever. */
async function answerWithin(client: postgres.Sql, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      client.unsafe('select 1'),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** Where a connection leads, without its password. */
function describe(connection: ConnectionOptions): string {
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

/** Ends a client of ours within a time limit, whatever its connections are doing. */
export async function closeClient(client: postgres.Sql, graceSeconds = 5): Promise<void> {
  await client.end({ timeout: graceSeconds }).catch(() => {});
}

import { show } from '../model/text.js';

const FORM = 'postgres://user:password@host:5432/database';

/** What to write instead of a URL's parameter that is another tool's. postgres.js would send it to the server. */
const FOREIGN: Readonly<Record<string, (value: string) => string>> = {
  schema: (value) => `write the option \`schema: ${show(value)}\` beside the URL`,
  currentSchema: (value) => `write the option \`schema: ${show(value)}\` beside the URL`,
  pgbouncer: () =>
    'write `prepare=false`, and give `listen` the URL of the server itself, as notifications do not pass PgBouncer',
  statement_cache_size: () => 'write `prepare=false` to prepare no statements',
  connection_limit: (value) => `write \`max=${limitOf(value)}\``,
  pool_size: (value) => `write \`max=${limitOf(value)}\``,
  max_connections: (value) => `write \`max=${limitOf(value)}\``,
  pool_timeout: () => 'leave it out: calls wait for a connection as long as the option `statementTimeout` says',
  socket_timeout: () => 'write the option `statementTimeout` (ms) beside the URL',
  sslaccept: (value) => `write \`sslmode=${value === 'strict' ? 'verify-full' : 'require'}\``,
  sslcert: certificates,
  sslkey: certificates,
  sslpassword: certificates,
  sslidentity: certificates,
  channel_binding: () => 'leave it out: postgres.js has no channel binding',
  gssencmode: () => 'leave it out: postgres.js does not encrypt by GSSAPI',
  uselibpqcompat: () => 'leave it out',
  workaround: () => 'leave it out',
  supa: () => 'leave it out',
  serverVersion: () => 'leave it out',
  charset: () => 'leave it out: the driver always uses UTF8',
  host: (value) => `name the host before the path; for a socket write \`connection: { host: ${show(value)}, … }\``,
  port: () => 'write it after the host, as `host:5432`',
  dbname: (value) => `write it as the path, \`/${value}\``,
  user: () => 'write it before the host, as `user:password@host`',
  password: () => 'write it before the host, as `user:password@host`',
};

const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];

/**
 * Judges what the user gave as the connection, before anything is opened. The messages never contain the password.
 *
 * @param name what the errors call it, such as `PgStore \`connection\``
 * @throws TypeError for what is no URL of Postgres; RangeError for a parameter that means nothing here
 */
export function checkConnection(connection: unknown, name: string): void {
  if (connection === undefined || connection === null || connection === '') {
    const shown = connection === '' ? 'empty' : String(connection);
    throw new TypeError(`${name} is ${shown}; is DATABASE_URL set? It must be a URL such as ${FORM}.`);
  }
  if (typeof connection === 'string') {
    checkUrl(connection, name);
    return;
  }
  if (typeof connection !== 'object' || Array.isArray(connection)) {
    const hint = typeof connection === 'function' ? '; a client goes to `db`, as drizzle(client)' : '';
    throw new TypeError(`${name} is ${show(connection)}; it must be a URL or an object of postgres.js options${hint}.`);
  }
  for (const key of ['connectionString', 'url', 'uri']) {
    if (key in connection) throw new TypeError(`${name} has no option ${show(key)}: give the URL itself as ${name}.`);
  }
}

function checkUrl(text: string, name: string): void {
  const scheme = /^\s*([a-z][a-z0-9+.:-]*):\/\//i.exec(text)?.[1];
  if (scheme === undefined) throw new TypeError(`${name} is not a URL; it must look like ${FORM}.`);
  if (!/^postgres(ql)?$/i.test(scheme)) {
    throw new TypeError(
      `${name} begins with ${show(`${scheme}://`)}; it must be the URL of the Postgres server itself: ${FORM}.`,
    );
  }
  const url = parseUrl(text);
  if (!url) {
    throw new TypeError(
      `${name} cannot be read as a URL; it must look like ${FORM}. Special characters in the user and the password ` +
        'must be percent-encoded (encodeURIComponent).',
    );
  }
  for (const [parameter, value] of url.searchParams) checkParameter(parameter, value, name);
}

function checkParameter(parameter: string, value: string, name: string): void {
  const where = `${name} has the parameter \`${parameter}\``;
  if (Object.hasOwn(FOREIGN, parameter)) {
    throw new RangeError(`${where}, which belongs to another tool; instead: ${FOREIGN[parameter]?.(value)}.`);
  }
  if (parameter === 'sslrootcert' && value !== 'system') {
    throw new RangeError(`${where}, which can only be "system" here; instead: ${certificates()}.`);
  }
  if (parameter === 'sslmode' && !SSL_MODES.includes(value)) {
    const instead = value === 'no-verify' ? 'write `sslmode=require`, which encrypts and does not verify' : '';
    throw new RangeError(`${name} has sslmode=${show(value)}; ${instead || `it must be ${SSL_MODES.join(', ')}`}.`);
  }
}

/** As the driver reads it: with several hosts, the first stands for all. Undefined for what it cannot read. */
function parseUrl(text: string): URL | undefined {
  try {
    const authority = text.slice(text.indexOf('://') + 3).split(/[?/]/)[0] ?? '';
    const hosts = decodeURIComponent(authority.slice(authority.indexOf('@') + 1));
    const url = new URL(text.replace(hosts, hosts.split(',')[0] ?? ''));
    decodeURIComponent(url.username + url.password);
    return url;
  } catch {
    return undefined;
  }
}

function limitOf(value: string): string {
  return /^\d+$/.test(value) ? value : '<number>';
}

function certificates(): string {
  return 'write `connection: { host, port, database, username, password, ssl: { ca, cert, key } }` with their contents';
}

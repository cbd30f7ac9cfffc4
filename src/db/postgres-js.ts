import type postgres from 'postgres';
import type { ConnectionOptions } from './connect.js';
import type { DrizzleLike } from './drizzle-like.js';
import type { Row } from './statement.js';

/** The options of a postgres.js client after it has parsed them, as far as its types leave them out. */
interface ParsedOptions {
  readonly parsers: Record<number, unknown>;
  readonly shared: unknown;
  readonly transform: Record<'value' | 'row', { readonly from?: unknown }>;
}

/**
 * The postgres.js client behind a Drizzle database, or undefined for any other driver. Bun's client is a tag with
 * `options` too; only postgres.js has parsed options of this form and its own `PostgresError`.
 */
export function postgresJsClient(db: DrizzleLike): postgres.Sql | undefined {
  const client = (db as { $client?: unknown }).$client as postgres.Sql | undefined;
  if (typeof client !== 'function' || typeof client.PostgresError !== 'function') return undefined;
  const options = client.options as unknown as Partial<ParsedOptions> | undefined;
  return options?.parsers && options.shared && options.transform ? client : undefined;
}

/**
 * A SQL text as the tag of postgres.js takes it: the parts between its values, in order.
 *
 * Make it once per text and keep it: the driver remembers every array that it was given for the life of the process.
 */
export function template(...parts: string[]): TemplateStringsArray {
  return Object.assign(parts, { raw: parts });
}

/**
 * Runs a text through the client's own tag: pipelined, and prepared unless the client's `prepare` option is false.
 * The driver numbers the values `$1`, `$2`, … by position, one for each gap between the parts; a part may name a value
 * again by its number.
 */
export function query(
  client: postgres.Sql,
  text: TemplateStringsArray,
  values: readonly (string | null)[] = [],
): postgres.PendingQuery<postgres.Row[]> {
  return client(text, ...values);
}

/**
 * Runs a text without values as one simple query. Several statements in it are one transaction on one connection. For
 * a connection of `openSingle`, where texts are not remembered.
 */
export function script(client: postgres.Sql, text: string): postgres.PendingQuery<postgres.Row[]> {
  return client(template(text)).simple();
}

/** The options that determine where a client connects, and as whom. */
const CONNECTION_OPTIONS = [
  'host',
  'port',
  'path',
  'database',
  'user',
  'pass',
  'ssl',
  'sslnegotiation',
  'target_session_attrs',
  'socket',
  'connect_timeout',
  'keep_alive',
  'connection',
] as const;

/** For a connection of our own to the same server: without the client's types, transforms and callbacks. */
export function connectionOf(client: postgres.Sql): ConnectionOptions {
  const options = client.options as unknown as Record<string, unknown>;
  return Object.fromEntries(CONNECTION_OPTIONS.map((name) => [name, options[name]])) as ConnectionOptions;
}

/** Whether the client has transforms or parsers that change texts or rows. */
export function changesRows(client: postgres.Sql): boolean {
  const { parsers, transform } = client.options as unknown as ParsedOptions;
  return transform.value.from !== undefined || transform.row.from !== undefined || 25 in parsers;
}

/** Rows read from the raw bytes, which no parser has touched; what a row transform has added is left out. */
export function textRows(rows: readonly object[], columns: number): Row[] {
  return rows.map((row) =>
    Array.from({ length: columns }, (_, i) => {
      const bytes = (row as (Uint8Array | null)[])[i];
      return bytes == null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    }),
  );
}

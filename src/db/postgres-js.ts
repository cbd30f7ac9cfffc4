import type postgres from 'postgres';
import type { ConnectionOptions } from './connect.js';
import type { DrizzleLike } from './drizzle-like.js';
import type { Row } from './statement.js';

/** What postgres.js makes of the options it was given, as far as its types do not say. */
interface ParsedOptions {
  readonly parsers: Record<number, unknown>;
  readonly shared: unknown;
  readonly transform: Record<'value' | 'row', { readonly from?: unknown }>;
}

/** The postgres.js client behind a Drizzle database; others (Bun's) look alike from afar. */
export function postgresJsClient(db: DrizzleLike): postgres.Sql | undefined {
  const client = (db as { $client?: unknown }).$client as postgres.Sql | undefined;
  if (typeof client !== 'function' || typeof client.unsafe !== 'function') return undefined;
  const options = client.options as unknown as Partial<ParsedOptions> | undefined;
  return options?.parsers && options.shared && options.transform ? client : undefined;
}

/** What says where a client connects and as whom. */
const WHERE = [
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

/** For a connection of our own to where a client leads: what the app made of types, rows and events stays behind. */
export function connectionOf(client: postgres.Sql): ConnectionOptions {
  const options = client.options as unknown as Record<string, unknown>;
  return Object.fromEntries(WHERE.map((name) => [name, options[name]])) as ConnectionOptions;
}

/** Whether the app has told its client to make something else of texts or rows. */
export function changesRows(client: postgres.Sql): boolean {
  const { parsers, transform } = client.options as unknown as ParsedOptions;
  return transform.value.from !== undefined || transform.row.from !== undefined || 25 in parsers;
}

/** Rows of bytes, which no parser touched; what a transform of whole rows added to them stays behind. */
export function textRows(rows: readonly object[], columns: number): Row[] {
  return rows.map((row) =>
    Array.from({ length: columns }, (_, i) => {
      const bytes = (row as (Uint8Array | null)[])[i];
      return bytes == null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    }),
  );
}

/**
 * A statement's text as postgres.js takes it from a tagged template: the chunks between its values. So a text that was
 * compiled once runs prepared and pipelined through the client's own tag.
 */
export function template(chunks: readonly string[]): TemplateStringsArray {
  return Object.assign([...chunks], { raw: chunks });
}

/** Migrations on their own, for a deploy step: `await migrate({ connection: process.env.DATABASE_URL })`. */
import type { ConnectionOptions } from '../db/connect.js';
import { checkConnection } from '../db/connection-input.js';
import type { DrizzleTransactor } from '../db/drizzle-like.js';
import { readOptions } from '../model/options/option-object.js';
import type { Applied } from './applied.js';
import { migrateConnection, migrateDrizzle } from './migrator.js';

export type { Applied } from './applied.js';

export interface MigrateOptions {
  /** A URL, or postgres.js options. Either this or `db`. */
  connection?: ConnectionOptions;
  /** An app's Drizzle database, over any Postgres driver. */
  db?: DrizzleTransactor;
  /** The Postgres schema of the tables. Default: the first of the connection's search path. */
  schema?: string;
}

/**
 * Brings the conveyor tables up to date. Safe to call from any number of processes at once. Needs no right to
 * change the schema when there is nothing to do.
 *
 * @throws TypeError or RangeError for a connection that cannot be one, before anything is opened
 * @throws SchemaError for a database that is newer than this code, or whose tables were changed by hand
 * @throws ConnectionError when the server cannot be reached
 */
export async function migrate(options: MigrateOptions): Promise<Applied> {
  readOptions(options, 'migrate() options', ['connection', 'db', 'schema']);
  if (options.connection === undefined && options.db === undefined) {
    throw new TypeError(
      'migrate() needs `connection` (a URL or postgres.js options) or `db` (a Drizzle database). Both are undefined; is ' +
        'DATABASE_URL set?',
    );
  }
  if (options.connection !== undefined) {
    checkConnection(options.connection, 'migrate() `connection`');
    return migrateConnection(options.connection, options.schema);
  }
  return migrateDrizzle(options.db as DrizzleTransactor, options.schema);
}

import { sql } from 'drizzle-orm';
import { type ConnectionOptions, closeClient, openSingle } from '../db/connect.js';
import { DrizzleExecutor } from '../db/drizzle-executor.js';
import type { DrizzleTransactor } from '../db/drizzle-like.js';
import { translate } from '../db/errors.js';
import type { Executor } from '../db/executor.js';
import { script } from '../db/postgres-js.js';
import { PreparedExecutor } from '../db/prepared-executor.js';
import { columns, statement } from '../db/statement.js';
import { quoteIdentifier, quoteLiteral, tablesIn } from '../db/tables.js';
import { SchemaError } from '../model/errors.js';
import type { Applied } from './applied.js';
import { recordedName } from './compatibility.js';
import type { Migration } from './generated.js';
import { TUNING } from './tuning.js';
import { ADOPTED, describeProblems, isForeign, readSchemaStatus } from './verify.js';

/** Long enough for an index on a large table. */
const MIGRATION_TIMEOUT_MS = 3_600_000;

const schemaExists = statement(
  'schema exists',
  ['schema'],
  (_db, p) => sql`select ${columns(sql`nspname`)} from pg_namespace where nspname = ${p.schema}`,
  { repeatable: true },
);

/** Migrations of one installation exclude each other by this advisory lock; different installations do not. */
function lockKey(schema: string | undefined): string {
  const name = schema === undefined ? 'current_schema()' : quoteLiteral(schema);
  return `hashtextextended('conveyor migrations in ' || coalesce(${name}, ''), 0)`;
}

/**
 * Limits of the role that must not end a migration, or its wait for another process. Only for the transaction, because
 * a transaction pooler gives the connection to others afterwards. Servers before 17 know no transaction_timeout.
 */
const UNLIMITED =
  "select set_config(name, '0', true) from pg_settings where name in " +
  "('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')";

/** What every transaction of a migration begins with. */
const beginnings = (schema: string | undefined): string[] => [
  UNLIMITED,
  `select pg_advisory_xact_lock(${lockKey(schema)})`,
  ...setSearchPath(schema),
];

interface MigrationSession {
  readonly executor: Executor;
  /** Runs the statements as one transaction, which excludes other migrations of the installation. */
  transaction(statements: readonly string[]): Promise<void>;
}

async function migrateIn(session: MigrationSession, schema: string | undefined): Promise<Applied> {
  const { executor } = session;
  if (schema !== undefined && (await executor.run(schemaExists, { schema })).length === 0) {
    await session.transaction([`create schema if not exists ${quoteIdentifier(schema)}`]);
  }
  const status = await readSchemaStatus(executor, schema);
  const { problems, pending } = status;
  if (problems.length === 0) {
    if (pending.length > 0) await session.transaction(pending.map((migration) => record(migration, schema, ADOPTED)));
    return { applied: [], adopted: pending.map(({ name }) => name) };
  }
  const applied: string[] = [];
  if (pending.length === 0 || isForeign(status)) throw new SchemaError(describeProblems(status, schema));
  for (const migration of pending) {
    const tuning = migration.version === 1 ? TUNING : [];
    try {
      await session.transaction([...migration.statements, ...tuning, record(migration, schema)]);
    } catch (error) {
      // Another process may have run it since it was read that it is pending: then it has failed here without effect.
      const { pending: left } = await readSchemaStatus(executor, schema).catch(() => status);
      if (left.includes(migration)) throw error;
      continue;
    }
    applied.push(migration.name);
  }
  return { applied, adopted: [] };
}

function record(migration: Migration, schema: string | undefined, suffix = ''): string {
  // One that was run must not be recorded twice: the later transaction is to fail as a whole.
  const conflict = suffix === ADOPTED ? ' on conflict do nothing' : '';
  const table = `${schema === undefined ? '' : `${quoteIdentifier(schema)}.`}"conveyor_migrations"`;
  return `insert into ${table} ("version", "name") values (${migration.version}, ${quoteLiteral(recordedName(migration) + suffix)})${conflict}`;
}

function setSearchPath(schema: string | undefined): string[] {
  return schema === undefined ? [] : [`set local search_path to ${quoteIdentifier(schema)}`];
}

/**
 * Migrates on a connection of its own. Each migration is one simple query of several statements, which the server runs
 * as one transaction: a process that dies in the middle leaves nothing behind. Nothing is kept in the session, so that
 * it works through a transaction pooler too.
 */
export async function migrateConnection(connection: ConnectionOptions, schema: string | undefined): Promise<Applied> {
  const client = await openSingle(connection);
  try {
    const executor = new PreparedExecutor(() => client, tablesIn(schema), {
      prepare: false,
      timeout: MIGRATION_TIMEOUT_MS,
    });
    return await migrateIn(
      {
        executor,
        async transaction(statements) {
          try {
            await script(client, ['begin', ...beginnings(schema), ...statements, 'commit'].join(';\n'));
          } catch (error) {
            await script(client, 'rollback').catch(() => {});
            throw error;
          }
        },
      },
      schema,
    );
  } catch (error) {
    throw translate(error, 'migrate');
  } finally {
    await closeClient(client, 1);
  }
}

/** Migrates through an app's Drizzle database of any driver, in one transaction on it. */
export async function migrateDrizzle(db: DrizzleTransactor, schema: string | undefined): Promise<Applied> {
  try {
    return await inTransactionOf(db, schema);
  } catch (error) {
    throw isWithoutTransactions(error) ? withoutTransactions(error) : error;
  }
}

/** Drizzle's words where a driver has none: neon-http, pg-proxy and their like. */
const isWithoutTransactions = (error: unknown): boolean =>
  error instanceof Error && /no transactions support|transactions are not supported/i.test(error.message);

const withoutTransactions = (cause: unknown) =>
  new SchemaError(
    'The conveyor tables cannot be made through the Drizzle driver behind `db`, because it has no transactions. Make ' +
      'them by another connection, once: `await migrate({ connection: process.env.DATABASE_URL })` of ' +
      '"@conveyor/store-pg/migrate", or by drizzle-kit; and give the store `autoMigrate: false`.',
    { cause },
  );

async function inTransactionOf(db: DrizzleTransactor, schema: string | undefined): Promise<Applied> {
  return db.transaction(async (tx) => {
    const executor = new DrizzleExecutor(tx, tablesIn(schema), {
      inTransaction: true,
      timeout: MIGRATION_TIMEOUT_MS,
    });
    await tx.execute(sql.raw(UNLIMITED));
    await tx.execute(sql.raw(`select pg_advisory_xact_lock(${lockKey(schema)})`));
    return migrateIn(
      {
        executor,
        async transaction(statements) {
          for (const text of [...setSearchPath(schema), ...statements]) await tx.execute(sql.raw(text));
        },
      },
      schema,
    );
  });
}

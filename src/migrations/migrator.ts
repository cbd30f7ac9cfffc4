import { sql } from 'drizzle-orm';
import type postgres from 'postgres';
import { type ConnectionOptions, closeClient, openSingle } from '../db/connection.js';
import { translate } from '../db/driver-errors.js';
import type { DrizzleTransactor } from '../db/drizzle-like.js';
import { DrizzleExecutor, type Executor, PreparedExecutor } from '../db/executor.js';
import { quoteIdentifier, quoteLiteral, relationsIn } from '../db/relation.js';
import { columns, statement } from '../db/statement.js';
import { SchemaError } from '../model/errors.js';
import type { Applied } from './applied.js';
import { MIGRATIONS, type Migration } from './generated.js';
import { describeTables, differences } from './schema-check.js';
import { TUNING } from './tuning.js';

/** Any two processes that migrate the same database wait for each other on this key. */
const LOCK_KEY = 7_265_910_118_204_553n;
/** Long enough for an index on a large table. */
const MIGRATION_TIMEOUT = 3_600_000;

const appliedVersions = statement(
  'applied versions',
  [],
  (db) => sql`select ${columns(db.migrations.col.version)} from ${db.migrations.table}`,
  { repeatable: true },
);

/** Runs SQL text on the one connection that holds the migration lock, all of a text in one transaction. */
interface MigrationSession {
  readonly executor: Executor;
  transaction(statements: string[]): Promise<void>;
}

/** `undefined` when the tables are up to date; else why not, in words. Refuses a database newer than this code. */
export async function pendingReason(executor: Executor, schema: string | undefined): Promise<string | undefined> {
  const found = await executor.run(describeTables, { schema: schema ?? null });
  const problems = differences(found);
  const versions = found.some(([table]) => table === 'conveyor_migrations') ? await readVersions(executor) : [];
  refuseNewer(versions);
  if (problems.length > 0) return problems.join('; ');
  const missing = MIGRATIONS.filter(({ version }) => !versions.includes(version));
  return missing.length > 0
    ? `not recorded in conveyor_migrations: ${missing.map((m) => m.name).join(', ')}`
    : undefined;
}

/** With `autoMigrate: false`: tables, columns and indexes must be there, however they came. */
export async function verifySchema(executor: Executor, schema: string | undefined): Promise<void> {
  const found = await executor.run(describeTables, { schema: schema ?? null });
  if (found.some(([table]) => table === 'conveyor_migrations')) refuseNewer(await readVersions(executor));
  const problems = differences(found);
  if (problems.length === 0) return;
  const where = schema === undefined ? 'this database' : `the Postgres schema "${schema}"`;
  throw new SchemaError(
    `The conveyor tables in ${where} are not what this version needs: ${problems.slice(0, 8).join('; ')}` +
      `${problems.length > 8 ? `; and ${problems.length - 8} more` : ''}. Mend it with autoMigrate: true, with migrate() of ` +
      '"@conveyor/store-pg/migrate", or with drizzle-kit generate and migrate on "@conveyor/store-pg/schema".',
  );
}

async function readVersions(executor: Executor): Promise<number[]> {
  return (await executor.run(appliedVersions, {})).map(([version]) => Number(version));
}

function refuseNewer(versions: number[]): void {
  const newest = Math.max(0, ...versions);
  if (newest > MIGRATIONS.length) {
    throw new SchemaError(
      `The database is at migration ${newest}, this version of @conveyor/store-pg knows ${MIGRATIONS.length}: ` +
        'update the package.',
    );
  }
}

async function migrateIn(session: MigrationSession, schema: string | undefined): Promise<Applied> {
  const { executor } = session;
  const result: Applied = { applied: [], adopted: [] };
  if (schema !== undefined) await session.transaction([`create schema if not exists ${quoteIdentifier(schema)}`]);
  const found = await executor.run(describeTables, { schema: schema ?? null });
  const tables = new Set(found.filter(([, column]) => column).map(([table]) => table));
  const versions = tables.has('conveyor_migrations') ? await readVersions(executor) : [];
  refuseNewer(versions);
  const pending = MIGRATIONS.filter(({ version }) => !versions.includes(version));
  const problems = differences(found);
  if (problems.length === 0) {
    if (pending.length > 0) await session.transaction(pending.map((migration) => record(migration, schema)));
    return { applied: [], adopted: pending.map(({ name }) => name) };
  }
  if (pending.length === 0 || (versions.length === 0 && tables.size > 0)) {
    throw new SchemaError(
      `The conveyor tables differ from what this version makes: ${problems.slice(0, 8).join('; ')}. ` +
        (pending.length === 0
          ? 'All migrations are recorded as run, so something changed the tables afterwards.'
          : 'They were not made by this migrator; bring them up to date with drizzle-kit generate and migrate.'),
    );
  }
  for (const migration of pending) {
    const tuning = migration.version === 1 ? TUNING : [];
    await session.transaction([...migration.statements, ...tuning, record(migration, schema)]);
    result.applied.push(migration.name);
  }
  return result;
}

function record({ version, name }: Migration, schema: string | undefined): string {
  const table = `${schema === undefined ? '' : `${quoteIdentifier(schema)}.`}"conveyor_migrations"`;
  return `insert into ${table} ("version", "name") values (${version}, ${quoteLiteral(name)}) on conflict do nothing`;
}

function searchPath(schema: string | undefined): string[] {
  return schema === undefined ? [] : [`set local search_path to ${quoteIdentifier(schema)}`];
}

/**
 * Migrates over a connection of its own. Each migration goes as one simple query of several statements, which the
 * server runs as one transaction: a process that dies half-way leaves nothing half-done.
 */
export async function migrateConnection(connection: ConnectionOptions, schema: string | undefined): Promise<Applied> {
  let lost = false;
  const onclose = () => {
    lost = true;
  };
  const client: postgres.Sql = await openSingle(connection, { onclose });
  try {
    await client.unsafe(`set statement_timeout = 0; select pg_advisory_lock(${LOCK_KEY})`);
    const executor = new PreparedExecutor(() => client, relationsIn(schema), {
      prepare: false,
      timeout: MIGRATION_TIMEOUT,
    });
    return await migrateIn(
      {
        executor,
        async transaction(statements) {
          // A connection that came back no longer holds the lock.
          if (lost)
            throw new SchemaError('The connection was lost while migrating; nothing was left half-done. Try again.');
          await client.unsafe(['begin', ...searchPath(schema), ...statements, 'commit'].join(';\n'));
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

/** Migrates through an app's Drizzle database of any driver, in one transaction of it. */
export async function migrateDrizzle(db: DrizzleTransactor, schema: string | undefined): Promise<Applied> {
  return db.transaction(async (tx) => {
    const executor = new DrizzleExecutor(tx, relationsIn(schema), { inTransaction: true, timeout: MIGRATION_TIMEOUT });
    await tx.execute(sql.raw(`select pg_advisory_xact_lock(${LOCK_KEY})`));
    return migrateIn(
      {
        executor,
        async transaction(statements) {
          for (const text of [...searchPath(schema), ...statements]) await tx.execute(sql.raw(text));
        },
      },
      schema,
    );
  });
}

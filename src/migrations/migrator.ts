import { sql } from 'drizzle-orm';
import { type ConnectionOptions, closeClient, openSingle } from '../db/connect.js';
import { DrizzleExecutor } from '../db/drizzle-executor.js';
import type { DrizzleTransactor } from '../db/drizzle-like.js';
import { translate } from '../db/errors.js';
import type { Executor } from '../db/executor.js';
import { template } from '../db/postgres-js.js';
import { PreparedExecutor } from '../db/prepared-executor.js';
import { columns, type Row, statement } from '../db/statement.js';
import { bare, quoteIdentifier, quoteLiteral, tablesIn } from '../db/tables.js';
import { SchemaError } from '../model/errors.js';
import type { Applied } from './applied.js';
import { MIGRATIONS, type Migration } from './generated.js';
import { describeTables, differences } from './schema-check.js';
import { TUNING } from './tuning.js';

/** Long enough for an index on a large table. */
const MIGRATION_TIMEOUT = 3_600_000;

const recordedMigrations = statement(
  'recorded migrations',
  [],
  (db) => sql`select ${columns(bare(db.migrations).version, bare(db.migrations).name)} from ${db.migrations}`,
  { repeatable: true },
);

const schemaExists = statement(
  'schema exists',
  ['schema'],
  (_db, p) => sql`select ${columns(sql`nspname`)} from pg_namespace where nspname = ${p.schema}`,
  { repeatable: true },
);

/** In `conveyor_migrations`, behind the name of a migration that was not run because its tables were there. */
const ADOPTED = ' (adopted)';

/** Any two processes that migrate the same installation wait for each other on this key; others do not. */
function lockKey(schema: string | undefined): string {
  const name = schema === undefined ? 'current_schema()' : quoteLiteral(schema);
  return `hashtextextended('conveyor migrations in ' || coalesce(${name}, ''), 0)`;
}

/** Runs SQL text on the one connection that holds the migration lock, all of a text in one transaction. */
interface MigrationSession {
  readonly executor: Executor;
  transaction(statements: string[]): Promise<void>;
}

/** `undefined` when the tables are up to date; else why not, in words. Refuses a database newer than this code. */
export async function pendingReason(executor: Executor, schema: string | undefined): Promise<string | undefined> {
  const found = await executor.run(describeTables, { schema: schema ?? null });
  const problems = differences(found);
  const versions = (await readRecorded(executor, found)).map(({ version }) => version);
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
  refuseNewer((await readRecorded(executor, found)).map(({ version }) => version));
  const problems = differences(found);
  if (problems.length === 0) return;
  const where = schema === undefined ? 'this database' : `the Postgres schema "${schema}"`;
  throw new SchemaError(
    `The conveyor tables in ${where} are not what this version needs: ${problems.slice(0, 8).join('; ')}` +
      `${problems.length > 8 ? `; and ${problems.length - 8} more` : ''}. Mend it with autoMigrate: true, with migrate() of ` +
      '"@conveyor/store-pg/migrate", or with drizzle-kit generate and migrate on "@conveyor/store-pg/schema".',
  );
}

interface Recorded {
  readonly version: number;
  /** The tables were made by somebody else, who is to bring them up to date as well. */
  readonly adopted: boolean;
}

async function readRecorded(executor: Executor, found: readonly Row[]): Promise<Recorded[]> {
  if (!found.some(([table]) => table === 'conveyor_migrations')) return [];
  const rows = await executor.run(recordedMigrations, {});
  return rows.map(([version, name]) => ({ version: Number(version), adopted: name?.endsWith(ADOPTED) ?? false }));
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
  if (schema !== undefined && (await executor.run(schemaExists, { schema })).length === 0) {
    await session.transaction([`create schema if not exists ${quoteIdentifier(schema)}`]);
  }
  const found = await executor.run(describeTables, { schema: schema ?? null });
  const tables = new Set(found.filter(([, column]) => column).map(([table]) => table));
  const recorded = await readRecorded(executor, found);
  const versions = recorded.map(({ version }) => version);
  refuseNewer(versions);
  const pending = MIGRATIONS.filter(({ version }) => !versions.includes(version));
  const problems = differences(found);
  if (problems.length === 0) {
    if (pending.length > 0) await session.transaction(pending.map((migration) => record(migration, schema, ADOPTED)));
    return { applied: [], adopted: pending.map(({ name }) => name) };
  }
  const foreign = versions.length === 0 ? tables.size > 0 : recorded.some(({ adopted }) => adopted);
  if (pending.length === 0 || foreign) {
    throw new SchemaError(
      `The conveyor tables differ from what this version makes: ${problems.slice(0, 8).join('; ')}. ` +
        (foreign
          ? 'They were not made by this migrator; bring them up to date with drizzle-kit generate and migrate.'
          : 'All migrations are recorded as run, so something changed the tables afterwards.'),
    );
  }
  for (const migration of pending) {
    const tuning = migration.version === 1 ? TUNING : [];
    await session.transaction([...migration.statements, ...tuning, record(migration, schema)]);
    result.applied.push(migration.name);
  }
  return result;
}

function record({ version, name }: Migration, schema: string | undefined, mark = ''): string {
  const table = `${schema === undefined ? '' : `${quoteIdentifier(schema)}.`}"conveyor_migrations"`;
  return `insert into ${table} ("version", "name") values (${version}, ${quoteLiteral(name + mark)}) on conflict do nothing`;
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
  const client = await openSingle(connection, { onclose });
  try {
    await client(template([`set statement_timeout = 0; select pg_advisory_lock(${lockKey(schema)})`])).simple();
    const executor = new PreparedExecutor(() => client, tablesIn(schema), {
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
          await client(template([['begin', ...searchPath(schema), ...statements, 'commit'].join(';\n')])).simple();
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
    const executor = new DrizzleExecutor(tx, tablesIn(schema), { inTransaction: true, timeout: MIGRATION_TIMEOUT });
    await tx.execute(sql.raw('set local statement_timeout = 0'));
    await tx.execute(sql.raw(`select pg_advisory_xact_lock(${lockKey(schema)})`));
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

import { sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import { columns, type Row, statement } from '../db/statement.js';
import { bare } from '../db/tables.js';
import { SchemaError } from '../model/errors.js';
import { worksSince } from './compatibility.js';
import { MIGRATIONS, type Migration } from './generated.js';
import { describeTables, differences } from './schema-check.js';

const recordedMigrations = statement(
  'recorded migrations',
  [],
  (db) => sql`select ${columns(bare(db.migrations).version, bare(db.migrations).name)} from ${db.migrations}`,
  { repeatable: true },
);

/** In `conveyor_migrations`, after the name of a migration that was not run because its tables existed already. */
export const ADOPTED = ' (adopted)';

const MAX_LISTED = 8;

interface Recorded {
  readonly version: number;
  /** How many migrations code must know to work with it. */
  readonly since: number;
  readonly adopted: boolean;
}

/** The installation as it is, compared with what this version needs. */
export interface SchemaStatus {
  /** Names of the conveyor tables that exist. */
  readonly tables: ReadonlySet<string>;
  /** What the tables lack, in words; empty when they are as this version needs them. */
  readonly problems: readonly string[];
  /** Migrations that are not recorded as run. */
  readonly pending: readonly Migration[];
  /** No migration is recorded. */
  readonly unrecorded: boolean;
  /** The highest number of a recorded migration. */
  readonly newest: number;
  /** Some migration was adopted: the tables are made and changed by another tool. */
  readonly adopted: boolean;
}

/** @throws SchemaError for a database that is too new for this code */
export async function readSchemaStatus(executor: Executor, schema: string | undefined): Promise<SchemaStatus> {
  const describe = () => executor.run(describeTables, { schema: schema ?? null });
  let described = await describe();
  const recorded = await readRecorded(executor, described);
  const versions = recorded.map(({ version }) => version);
  assertNotTooNew(recorded);
  const pending = MIGRATIONS.filter(({ version }) => !versions.includes(version));
  // Another process may have migrated between the two reads: what is recorded by now, the tables have.
  if (pending.length === 0 && differences(described).length > 0) described = await describe();
  return {
    tables: new Set(described.flatMap(([table, column]) => (column && table ? [table] : []))),
    problems: differences(described),
    pending,
    newest: Math.max(0, ...versions),
    unrecorded: versions.length === 0,
    adopted: recorded.some(({ adopted }) => adopted),
  };
}

/**
 * Whether there is anything to migrate.
 *
 * @param notice called when the database is newer, but this code can work on it
 * @throws SchemaError for a database that is too new for this code
 */
export async function isUpToDate(executor: Executor, schema: string | undefined, notice: Notice): Promise<boolean> {
  const status = await readSchemaStatus(executor, schema);
  if (status.problems.length > 0 || status.pending.length > 0) return false;
  noticeNewer(status, notice);
  return true;
}

/**
 * For `autoMigrate: false`: tables, columns and indexes must exist, by whichever tool.
 *
 * @throws SchemaError when they do not, or when the database is too new for this code
 */
export async function verifySchema(executor: Executor, schema: string | undefined, notice: Notice): Promise<void> {
  const status = await readSchemaStatus(executor, schema);
  if (status.problems.length > 0) throw new SchemaError(describeProblems(status, schema));
  noticeNewer(status, notice);
}

type Notice = (text: string) => void;

function noticeNewer({ newest }: SchemaStatus, notice: Notice): void {
  if (newest <= MIGRATIONS.length) return;
  notice(
    `conveyor: the database is at migration ${newest}, this version of the package knows ${MIGRATIONS.length}. It can ` +
      'work on it; update the package when the deploy is over',
  );
}

/** Made and changed by another tool, such as drizzle-kit, so that our own migrator keeps off them. */
export function isForeign({ unrecorded, tables, adopted }: SchemaStatus): boolean {
  return unrecorded ? tables.size > 0 : adopted;
}

/** What is wrong with the tables and how to mend it, which depends on who made them. */
export function describeProblems(status: SchemaStatus, schema: string | undefined): string {
  const where = schema === undefined ? 'this database' : `the Postgres schema "${schema}"`;
  const listed = listProblems(status.problems);
  const found = `The conveyor tables in ${where} are not what this version needs: ${listed}.`;
  const migrate = `await migrate({ connection: process.env.DATABASE_URL${schema === undefined ? '' : `, schema: '${schema}'`} })`;
  const own = `with autoMigrate: true, or once by \`${migrate}\` of "@conveyor/store-pg/migrate"`;
  const kit = '`export * from "@conveyor/store-pg/schema"` in your schema file, then drizzle-kit generate and migrate';
  if (isForeign(status))
    return `${found} They were not made by this migrator; bring them up to date with drizzle-kit: ${kit}.`;
  if (status.tables.size === 0) {
    return `There are no conveyor tables in ${where} (${listed}). Make them ${own}; or with drizzle-kit: ${kit}.`;
  }
  if (status.pending.length > 0) return `${found} Update them ${own}.`;
  return (
    `${found} All migrations are recorded as run, so something changed the tables afterwards, and migrating again would ` +
    'not mend it. Restore what is missing; or, if no job has to be kept, drop every table "conveyor_…" with the one of ' +
    `migrations, and make them anew ${own}.`
  );
}

/** The first few of them, for an error's message. */
function listProblems(problems: readonly string[]): string {
  const more = problems.length - MAX_LISTED;
  return problems.slice(0, MAX_LISTED).join('; ') + (more > 0 ? `; and ${more} more` : '');
}

async function readRecorded(executor: Executor, described: readonly Row[]): Promise<Recorded[]> {
  if (!described.some(([table]) => table === 'conveyor_migrations')) return [];
  const rows = await executor.run(recordedMigrations, {});
  return rows.map(([version, name]) => ({
    version: Number(version),
    since: worksSince(Number(version), name ?? ''),
    adopted: name?.endsWith(ADOPTED) ?? false,
  }));
}

function assertNotTooNew(recorded: readonly Recorded[]): void {
  const breaking = recorded.filter(({ since }) => since > MIGRATIONS.length).map(({ version }) => version);
  if (breaking.length === 0) return;
  throw new SchemaError(
    `The database is at migration ${Math.max(...breaking)}, this version of @conveyor/store-pg knows ` +
      `${MIGRATIONS.length}, and cannot work on it: update the package.`,
  );
}

import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { type ConveyorTables, defineConveyor, JOBS_SEQUENCE } from '../schema/tables.js';

type Names<T extends PgTable> = { readonly [K in keyof T['_']['columns']]: SQL };
/** With the row's physical place, which a statement may use for a row that it has locked itself. */
type AliasedNames<T extends PgTable> = Names<T> & { readonly ctid: SQL };

/** A table as the statements write it: every name comes from the Drizzle schema. */
export interface Relation<T extends PgTable> {
  /** `"conveyor_jobs"`, with its Postgres schema where one is set. */
  readonly table: SQL;
  /** `"conveyor_jobs" as "j"`. */
  as(alias: string): SQL;
  /** Bare column names, for `set` and insert lists. */
  readonly col: Names<T>;
  /** Column names under an alias: `"j"."state"`. */
  of(alias: string): AliasedNames<T>;
}

function relation<T extends PgTable>(table: T): Relation<T> {
  const columns = Object.entries(getTableColumns(table)) as [string, { name: string }][];
  const names = (prefix: SQL) =>
    Object.fromEntries(
      columns.map(([key, column]) => [key, sql`${prefix}${sql.identifier(column.name)}`]),
    ) as unknown as Names<T>;
  return {
    table: sql`${table}`,
    as: (alias) => sql`${table} as ${sql.identifier(alias)}`,
    col: names(sql``),
    of: (alias) => ({ ...names(sql`${sql.identifier(alias)}.`), ctid: sql`${sql.identifier(alias)}.ctid` }),
  };
}

/** Everything a statement may name. */
export interface Relations {
  jobs: Relation<ConveyorTables['conveyorJobs']>;
  pausedNames: Relation<ConveyorTables['conveyorPausedNames']>;
  groupCursors: Relation<ConveyorTables['conveyorGroupCursors']>;
  rateLimits: Relation<ConveyorTables['conveyorRateLimits']>;
  schedules: Relation<ConveyorTables['conveyorSchedules']>;
  metrics: Relation<ConveyorTables['conveyorMetrics']>;
  migrations: Relation<ConveyorTables['conveyorMigrations']>;
  /** `nextval` of the sequence that orders jobs. */
  nextSeq: SQL;
}

/** The relations of one installation: the tables of `schema`, or of the connection's search path. */
export function relationsIn(schema: string | undefined): Relations {
  const tables = defineConveyor(schema);
  const prefix = schema === undefined ? '' : `${quoteIdentifier(schema)}.`;
  const sequence = quoteLiteral(`${prefix}${quoteIdentifier(JOBS_SEQUENCE)}`);
  return {
    jobs: relation(tables.conveyorJobs),
    pausedNames: relation(tables.conveyorPausedNames),
    groupCursors: relation(tables.conveyorGroupCursors),
    rateLimits: relation(tables.conveyorRateLimits),
    schedules: relation(tables.conveyorSchedules),
    metrics: relation(tables.conveyorMetrics),
    migrations: relation(tables.conveyorMigrations),
    nextSeq: sql.raw(`nextval(${sequence}::regclass)`),
  };
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

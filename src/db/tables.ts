import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { alias as drizzleAlias, type PgTable } from 'drizzle-orm/pg-core';
import { type ConveyorTables, JOBS_SEQUENCE, METRICS_SEQUENCE, qualifiedTables } from '../schema/tables.js';

/** The tables of one installation, as every statement names them: the names come from the Drizzle schema. */
export interface Tables {
  readonly jobs: ConveyorTables['conveyorJobs'];
  readonly pausedNames: ConveyorTables['conveyorPausedNames'];
  readonly groupCursors: ConveyorTables['conveyorGroupCursors'];
  readonly rateLimits: ConveyorTables['conveyorRateLimits'];
  readonly schedules: ConveyorTables['conveyorSchedules'];
  readonly metrics: ConveyorTables['conveyorMetrics'];
  readonly migrations: ConveyorTables['conveyorMigrations'];
  /** The sequence that orders jobs, and its `nextval`. */
  readonly jobsSequence: SQL;
  readonly nextSeq: SQL;
  readonly metricsSequence: SQL;
}

/** The jobs table, or an alias of it. */
export type Jobs = Tables['jobs'];

/**
 * The tables in `schema`, or in the first one of the connection's search path that has them. Tables and sequence are
 * both qualified or both not: one of each kind would mix two installations on one search path.
 */
export function tablesIn(schema: string | undefined): Tables {
  const tables = qualifiedTables(schema);
  const prefix = schema === undefined ? '' : `${quoteIdentifier(schema)}.`;
  const sequence = (name: string) => sql`${literal(`${prefix}${quoteIdentifier(name)}`)}::regclass`;
  return {
    jobs: tables.conveyorJobs,
    pausedNames: tables.conveyorPausedNames,
    groupCursors: tables.conveyorGroupCursors,
    rateLimits: tables.conveyorRateLimits,
    schedules: tables.conveyorSchedules,
    metrics: tables.conveyorMetrics,
    migrations: tables.conveyorMigrations,
    jobsSequence: sequence(JOBS_SEQUENCE),
    nextSeq: sql`nextval(${sequence(JOBS_SEQUENCE)})`,
    metricsSequence: sequence(METRICS_SEQUENCE),
  };
}

/** Drizzle's alias: `from ${db.jobs} as ${j}` and `${j.state}` print `"conveyor_jobs" as "j"` and `"j"."state"`. */
export function alias<T extends PgTable>(table: T, name: string): T {
  return drizzleAlias(table, name) as unknown as T;
}

/** Column names without a table, as `set` and the column lists of `insert` and `on conflict` want them. */
export function bare<T extends PgTable>(table: T): { readonly [K in keyof T['_']['columns']]: SQL } {
  const columns = Object.entries(getTableColumns(table)) as [string, { name: string }][];
  return Object.fromEntries(columns.map(([key, column]) => [key, sql`${sql.identifier(column.name)}`])) as {
    readonly [K in keyof T['_']['columns']]: SQL;
  };
}

/**
 * A constant inside a statement. Always explicit: interpolated as it is, it would be a parameter, which hides a partial
 * index from a generic plan.
 */
export function literal(value: string | number | boolean): SQL {
  return sql.raw(typeof value === 'string' ? quoteLiteral(value) : String(value));
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

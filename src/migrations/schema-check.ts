import { getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import { columns, type Row, statement } from '../db/statement.js';
import { defineConveyor, JOBS_SEQUENCE } from '../schema/tables.js';

/**
 * What exists of the conveyor tables: a row per column (table, column, type, whether it is not null), and a row per
 * index and sequence (name, no column, kind).
 */
export const describeTables = statement(
  'describe tables',
  ['schema'],
  (_db, p) => sql`
    select ${columns(sql`cls.relname`, sql`att.attname`, sql`format_type(att.atttypid, att.atttypmod)`, sql`att.attnotnull`)}
    from pg_class cls join pg_attribute att on att.attrelid = cls.oid
    where cls.relkind in ('r', 'p') and cls.relname like 'conveyor\\_%' and att.attnum > 0 and not att.attisdropped
      and ${inSchema(p.schema)}
    union all
    select idx.relname::text, null, case when ind.indisunique then 'unique index' else 'index' end, null
    from pg_class idx
    join pg_index ind on ind.indexrelid = idx.oid and ind.indisvalid
    join pg_class cls on cls.oid = ind.indrelid
    where cls.relname like 'conveyor\\_%' and ${inSchema(p.schema)}
    union all
    select cls.relname::text, null, 'sequence', null from pg_class cls
    where cls.relkind = 'S' and cls.relname like 'conveyor\\_%' and ${inSchema(p.schema)}`,
  { repeatable: true },
);

/** Whether `cls` is in the named Postgres schema; for null, whether its unqualified name resolves to it. */
export function inSchema(schema: SQL): SQL {
  return sql`(case when ${schema} is null then pg_table_is_visible(cls.oid)
    else cls.relnamespace = (select oid from pg_namespace where nspname = ${schema}) end)`;
}

/** What the tables lack, in words; empty when they are as this version needs them. Additional columns are allowed. */
export function differences(rows: readonly Row[]): string[] {
  const tables = new Map<string, Map<string, { type: string; notNull: boolean }>>();
  /** Indexes and sequences: kind by name. */
  const others = new Map<string, string>();
  for (const [relation, column, type, notNull] of rows) {
    if (relation === null || relation === undefined) continue;
    if (!column) {
      others.set(relation, type ?? '');
      continue;
    }
    const existing = tables.get(relation) ?? new Map();
    existing.set(column, { type: type ?? '', notNull: notNull === 'true' || notNull === 't' });
    tables.set(relation, existing);
  }
  const problems: string[] = [];
  for (const table of Object.values(defineConveyor()) as PgTable[]) {
    const name = getTableName(table);
    const existing = tables.get(name);
    if (!existing) {
      problems.push(`table "${name}" is missing`);
      continue;
    }
    for (const column of Object.values(getTableColumns(table)) as {
      name: string;
      notNull: boolean;
      getSQLType(): string;
    }[]) {
      const actual = existing.get(column.name);
      const type = column.getSQLType();
      if (!actual) problems.push(`column "${name}.${column.name}" (${type}) is missing`);
      else if (actual.type !== type)
        problems.push(`column "${name}.${column.name}" is ${actual.type} instead of ${type}`);
      else if (actual.notNull && !column.notNull) problems.push(`column "${name}.${column.name}" must allow null`);
    }
    for (const { name: index, unique } of indexesOf(table)) {
      const kind = others.get(index);
      if (kind === undefined) problems.push(`index "${index}" is missing`);
      else if (unique && kind !== 'unique index') problems.push(`index "${index}" is not unique`);
    }
  }
  if (others.get(JOBS_SEQUENCE) !== 'sequence') problems.push(`sequence "${JOBS_SEQUENCE}" is missing`);
  return problems;
}

function indexesOf(table: PgTable): { name: string; unique: boolean }[] {
  const { name, columns: tableColumns, indexes, primaryKeys } = getTableConfig(table);
  return [
    ...tableColumns.filter((column) => column.primary).map(() => ({ name: `${name}_pkey`, unique: true })),
    ...primaryKeys.map((key) => ({ name: key.getName() as string, unique: true })),
    ...indexes.map(({ config }) => ({ name: config.name as string, unique: config.unique })),
  ];
}

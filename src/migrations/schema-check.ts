import { getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import { columns, type Row, statement } from '../db/statement.js';
import { defineConveyor, JOBS_SEQUENCE } from '../schema/tables.js';

/**
 * What there is of our tables: table, column, type and whether null is refused; and by their names the indexes and the
 * sequences, which have no column.
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

/** A named Postgres schema, or what an unqualified name finds. */
function inSchema(schema: SQL): SQL {
  return sql`(case when ${schema} is null then pg_table_is_visible(cls.oid)
    else cls.relnamespace = (select oid from pg_namespace where nspname = ${schema}) end)`;
}

/** What the tables lack, in words; empty when they are as this version needs them. More than that does no harm. */
export function differences(rows: Row[]): string[] {
  const found = new Map<string, Map<string, { type: string; notNull: boolean }>>();
  const others = new Map<string, string>();
  for (const [relation, column, type, notNull] of rows) {
    if (relation === null || relation === undefined) continue;
    if (!column) {
      others.set(relation, type ?? '');
      continue;
    }
    const table = found.get(relation) ?? new Map();
    table.set(column, { type: type ?? '', notNull: notNull === 'true' || notNull === 't' });
    found.set(relation, table);
  }
  const problems: string[] = [];
  for (const table of Object.values(defineConveyor()) as PgTable[]) {
    const name = getTableName(table);
    const have = found.get(name);
    if (!have) {
      problems.push(`table "${name}" is missing`);
      continue;
    }
    for (const column of Object.values(getTableColumns(table)) as {
      name: string;
      notNull: boolean;
      getSQLType(): string;
    }[]) {
      const is = have.get(column.name);
      const type = column.getSQLType();
      if (!is) problems.push(`column "${name}.${column.name}" (${type}) is missing`);
      else if (is.type !== type) problems.push(`column "${name}.${column.name}" is ${is.type} instead of ${type}`);
      else if (is.notNull && !column.notNull) problems.push(`column "${name}.${column.name}" must allow null`);
      have.delete(column.name);
    }
    for (const { name: index, unique } of indexesOf(table)) {
      const is = others.get(index);
      if (is === undefined) problems.push(`index "${index}" is missing`);
      else if (unique && is !== 'unique index') problems.push(`index "${index}" is not unique`);
    }
  }
  if (others.get(JOBS_SEQUENCE) !== 'sequence') problems.push(`sequence "${JOBS_SEQUENCE}" is missing`);
  return problems;
}

function indexesOf(table: PgTable): { name: string; unique: boolean }[] {
  const { name, columns: ofTable, indexes, primaryKeys } = getTableConfig(table);
  return [
    ...ofTable.filter((column) => column.primary).map(() => ({ name: `${name}_pkey`, unique: true })),
    ...primaryKeys.map((key) => ({ name: key.getName() as string, unique: true })),
    ...indexes.map(({ config }) => ({ name: config.name as string, unique: config.unique })),
  ];
}

import { getTableName, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Executor } from '../db/executor.js';
import { columns, statement } from '../db/statement.js';
import { quoteIdentifier } from '../db/tables.js';
import { SchemaError } from '../model/errors.js';
import type { Logger } from '../model/logger.js';
import { defineConveyor, JOBS_SEQUENCE } from '../schema/tables.js';
import { inSchema } from './schema-check.js';

/**
 * What this role may do with each table and sequence: role, encoding of the server, default isolation, relation, its schema, whether the
 * role may use that, the privileges that it lacks, and what row level security leaves of the table for it: `all`,
 * `some` or `none`.
 */
const describeRole = statement(
  'describe role',
  ['schema'],
  (_db, p) => {
    const lacks = (privilege: string) =>
      sql.raw(`case when not has_table_privilege(cls.oid, '${privilege}') then '${privilege}' end`);
    return sql`
      select ${columns(
        sql`current_user`,
        sql`current_setting('server_encoding')`,
        sql`current_setting('default_transaction_isolation')`,
        sql`cls.relname`,
        sql`nsp.nspname`,
        sql`has_schema_privilege(nsp.oid, 'usage')`,
        sql`case when cls.relkind = 'S' then case when not has_sequence_privilege(cls.oid, 'usage') then 'usage' end
          else concat_ws(', ', ${lacks('select')}, ${lacks('insert')}, ${lacks('update')}, ${lacks('delete')}) end`,
        sql`case when cls.relkind = 'S' or not row_security_active(cls.oid) then 'all' else (
          select case when bool_or(pol.polcmd = '*' and pg_get_expr(pol.polqual, pol.polrelid) = 'true'
              and coalesce(pg_get_expr(pol.polwithcheck, pol.polrelid), 'true') = 'true') then 'all'
            when count(*) > 0 then 'some' else 'none' end
          from pg_policy pol where pol.polrelid = cls.oid and pol.polpermissive
            and (0 = any(pol.polroles) or exists (select from unnest(pol.polroles) as r(id) where pg_has_role(r.id, 'member')))
        ) end`,
      )}
      from pg_class cls join pg_namespace nsp on nsp.oid = cls.relnamespace
      where cls.relkind in ('r', 'p', 'S') and cls.relname like 'conveyor\\_%' and ${inSchema(p.schema)}
      order by cls.relname`;
  },
  { repeatable: true },
);

const TABLES = new Set((Object.values(defineConveyor()) as PgTable[]).map((table) => getTableName(table)));
const READ_ONLY_TABLE = 'conveyor_migrations';

/**
 * Whether the role of the connection can do its work: without a privilege, or with row level security that hides all
 * rows, workers would idle for ever. Warns of what may lose data or jobs.
 *
 * @returns false when there are no tables yet
 * @throws SchemaError that says what to grant
 */
export async function verifyRole(executor: Executor, schema: string | undefined, logger: Logger): Promise<boolean> {
  const rows = await executor.run(describeRole, { schema: schema ?? null });
  const [first] = rows;
  if (!first) return false;
  const [role, encoding, isolation] = first as [string, string, string];
  const to = `to ${quoteIdentifier(role)}`;
  const problems = new Set<string>();
  const grants = new Set<string>();
  const hidden: string[] = [];
  const filtered: string[] = [];
  for (const [, , , relation, namespace, usable, lacking, visible] of rows as string[][]) {
    const isSequence = relation === JOBS_SEQUENCE;
    if (!relation || !namespace || !(isSequence || TABLES.has(relation))) continue;
    const place = quoteIdentifier(namespace);
    if (usable === 'false' || usable === 'f') {
      problems.add(`may not use the Postgres schema ${place}`);
      grants.add(`grant usage on schema ${place} ${to}`);
    }
    const missing = relation === READ_ONLY_TABLE ? lacking?.match(/select/)?.[0] : lacking;
    if (missing) {
      const name = `${place}.${quoteIdentifier(relation)}`;
      problems.add(`lacks ${missing} on ${name}`);
      grants.add(`grant ${missing} on ${isSequence ? 'sequence ' : ''}${name} ${to}`);
    }
    if (visible === 'none') hidden.push(`${place}.${quoteIdentifier(relation)}`);
    if (visible === 'some') filtered.push(relation);
  }
  if (problems.size > 0) {
    throw new SchemaError(`The role "${role}" ${[...problems].join('; ')}. Run: ${[...grants].join('; ')}.`);
  }
  if (hidden.length > 0) {
    const policy = `create policy conveyor on ${hidden[0]} ${to} using (true) with check (true)`;
    throw new SchemaError(
      `Row level security hides every row of ${hidden.join(', ')} from the role "${role}". For each of them run ` +
        `\`${policy}\`, or alter role ${quoteIdentifier(role)} bypassrls, or disable row level security.`,
    );
  }
  if (filtered.length > 0) {
    logger.warn(
      `conveyor: policies of row level security on ${filtered.join(', ')} apply to the role "${role}". Jobs that they ` +
        'hide are never run: give the role a policy `using (true) with check (true)`',
    );
  }
  if (encoding !== 'UTF8') {
    logger.warn(
      `conveyor: the database has the encoding ${encoding}, not UTF8. It refuses jobs with characters that it does not ` +
        'have; in results and errors they are replaced by "?"',
    );
  }
  if (isolation !== 'read committed') {
    logger.warn(
      `conveyor: transactions of this connection are "${isolation}" by default. Statements that meet a concurrent change ` +
        'then fail and are sent again, and a busy queue is slow: set default_transaction_isolation to "read committed" ' +
        'for the role, or on the client behind `db`',
    );
  }
  return true;
}

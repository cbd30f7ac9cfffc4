import { type SQL, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { instantOf, interval, now } from '../../db/time.js';
import { fieldsWhere, JOB_FIELDS, type JobFieldName, wireName } from './job-fields.js';

/** Which fields the rows of a batch may have: those of a new job, or all that a caller of the store may set. */
export type RecordShape = 'new' | 'full';

const fieldsOf = (shape: RecordShape) =>
  fieldsWhere(({ insert }) => insert === 'new' || (insert === 'stored' && shape === 'full'));

/** The type under which a field is read from JSON. */
const wireType = (name: JobFieldName) => (JOB_FIELDS[name].type === 'time' ? 'float8' : JOB_FIELDS[name].type);

/**
 * The batch as rows `x`, in its order, with the columns of the jobs table, as JSON has them; `lifo` and `delay_ms` are
 * not columns. `seq` is taken here, so that the order of insertion may differ from it.
 */
export function insertInput(db: Tables, jobs: SQL, shape: RecordShape = 'full'): SQL {
  const fields = [
    ...fieldsOf(shape).map((name) => `${wireName(name)} ${wireType(name)}`),
    'lifo boolean',
    'delay_ms float8',
  ];
  return sql`select x.*, case when x.lifo then -${db.nextSeq} else ${db.nextSeq} end as seq
    from rows from (jsonb_to_recordset(${jobs}::jsonb) as (${sql.raw(fields.join(', '))})) with ordinality x`;
}

/** `(columns) select values`, to follow `insert into …`; `x` is the input row. */
export function insertSelect(db: Tables, shape: RecordShape = 'full'): SQL {
  const names: JobFieldName[] = ['seq', ...fieldsOf(shape)];
  const columns = names.map((name) => bare(db.jobs)[name]);
  const values = names.map((name) => insertValue(db, name));
  return sql`(${sql.join(columns, sql`, `)}) select ${sql.join(values, sql`, `)}`;
}

function insertValue(db: Tables, name: JobFieldName): SQL {
  const value = sql`${alias(db.jobs, 'x')[name]}`;
  const { type, absent } = JOB_FIELDS[name];
  if (name === 'createdAt') return sql`coalesce(${instantOf(value)}, ${now})`;
  if (name === 'delayUntil') {
    return sql`case when x.delay_ms is null then ${instantOf(value)} else ${now} + ${interval(sql`x.delay_ms`)} end`;
  }
  if (type === 'time') return instantOf(value);
  return absent === 'null' ? value : sql`coalesce(${value}, ${sql.raw(absent)})`;
}

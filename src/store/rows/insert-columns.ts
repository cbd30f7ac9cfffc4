import { type SQL, sql } from 'drizzle-orm';
import { bare, type Tables } from '../../db/tables.js';
import { instantOf as at, interval, now } from '../../db/time.js';

/** Which fields the rows of a batch may have: those of a new job, or all. */
export type RecordShape = 'new' | 'full';

const NEW_FIELDS = sql`q text, id text, name text, data jsonb, state text, created float8, opts jsonb, priority int,
  lifo boolean, delay float8, until float8, dedup text, grp text, parent text, parentq text, pending int, children jsonb,
  schedule text`;
const LATER_FIELDS = sql`attempts int, progress float8, ret jsonb, reason text, logs jsonb, stack jsonb,
  attemptlogs jsonb, processed float8, completed float8, failed float8, lock float8, cancelled float8, worker text,
  discarded boolean`;

/** The batch as rows, in its order; `seq` is taken here so that the order of insertion may differ from it. */
export function insertInput(db: Tables, jobs: SQL, shape: RecordShape = 'full'): SQL {
  const fields = shape === 'new' ? NEW_FIELDS : sql`${NEW_FIELDS}, ${LATER_FIELDS}`;
  return sql`select x.*, case when x.lifo then -${db.nextSeq} else ${db.nextSeq} end as seq
    from rows from (jsonb_to_recordset(${jobs}::jsonb) as (${fields})) with ordinality x`;
}

const list = (value: SQL): SQL => sql`coalesce(${value}, '[]'::jsonb)`;

/** Column by column, what an input row `x` becomes. */
function newColumns(db: Tables): [SQL, SQL][] {
  const col = bare(db.jobs);
  return [
    [col.queueName, sql`x.q`],
    [col.id, sql`x.id`],
    [col.seq, sql`x.seq`],
    [col.name, sql`x.name`],
    [col.data, sql`coalesce(x.data, 'null'::jsonb)`],
    [col.state, sql`x.state`],
    [col.createdAt, sql`coalesce(${at(sql`x.created`)}, ${now})`],
    [col.opts, sql`coalesce(x.opts, '{}'::jsonb)`],
    [col.priority, sql`coalesce(x.priority, 0)`],
    [
      col.delayUntil,
      sql`case when x.delay is null then ${at(sql`x.until`)} else ${now} + ${interval(sql`x.delay`)} end`,
    ],
    [col.deduplicationKey, sql`x.dedup`],
    [col.groupId, sql`x.grp`],
    [col.parentId, sql`x.parent`],
    [col.parentQueueName, sql`x.parentq`],
    [col.pendingChildrenCount, sql`coalesce(x.pending, 0)`],
    [col.childrenIds, list(sql`x.children`)],
    [col.scheduleKey, sql`x.schedule`],
  ];
}

function laterColumns(db: Tables): [SQL, SQL][] {
  const col = bare(db.jobs);
  return [
    [col.attemptsMade, sql`coalesce(x.attempts, 0)`],
    [col.progress, sql`coalesce(x.progress, 0)`],
    [col.returnvalue, sql`x.ret`],
    [col.failedReason, sql`x.reason`],
    [col.logs, list(sql`x.logs`)],
    [col.stacktrace, list(sql`x.stack`)],
    [col.attemptLogs, list(sql`x.attemptlogs`)],
    [col.processedAt, at(sql`x.processed`)],
    [col.completedAt, at(sql`x.completed`)],
    [col.failedAt, at(sql`x.failed`)],
    [col.lockUntil, at(sql`x.lock`)],
    [col.cancelledAt, at(sql`x.cancelled`)],
    [col.lockedBy, sql`x.worker`],
    [col.discarded, sql`coalesce(x.discarded, false)`],
  ];
}

/** `(columns) select values`, to follow `insert into …`; `x` is the input row. */
export function insertSelect(db: Tables, shape: RecordShape = 'full'): SQL {
  const pairs = shape === 'new' ? newColumns(db) : [...newColumns(db), ...laterColumns(db)];
  const names = sql.join(
    pairs.map(([column]) => column),
    sql`, `,
  );
  const values = sql.join(
    pairs.map(([, value]) => value),
    sql`, `,
  );
  return sql`(${names}) select ${values}`;
}

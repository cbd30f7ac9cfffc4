import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias, bare, type Tables } from '../../db/tables.js';
import { recordsOf } from '../rows/derived-record.js';
import { fieldsWhere, JOB_FIELDS } from '../rows/job-fields.js';

interface Fresh {
  /** Children that have not ended: with any, the job waits for them. */
  readonly pendingChildren: SQLWrapper;
  readonly deduplicationKey: SQLWrapper;
  /** Its new place in the queue. */
  readonly seq: SQLWrapper;
}

const RESET = fieldsWhere(({ reset }) => reset);

/** The assignments that make an ended job `j` as good as new: what it was added with stays, and so do logs and records. */
export function startOver(db: Tables, { pendingChildren, deduplicationKey, seq }: Fresh): SQL {
  const col = bare(db.jobs);
  const resets = RESET.map((name) => sql`${col[name]} = ${sql.raw(JOB_FIELDS[name].absent)}`);
  return sql`${col.state} = case when ${pendingChildren} > 0 then 'waiting-children' else 'waiting' end,
    ${col.pendingChildrenCount} = ${pendingChildren}, ${col.deduplicationKey} = ${deduplicationKey},
    ${col.attemptLogs} = ${recordsOf(alias(db.jobs, 'j'))}, ${col.seq} = ${seq}, ${sql.join(resets, sql`, `)}`;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { columns, type Row } from '../../db/statement.js';
import { type Jobs, literal } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { fieldsWhere, JOB_FIELDS, type JobFieldName } from './job-fields.js';
import { type Claim, StoredJob } from './stored-job.js';

const CELLS = fieldsWhere(({ read }) => read === 'cell');
const DETAILS = fieldsWhere(({ read }) => read === 'detail');
/** How many columns `jobColumns` puts out: a statement may add its own behind them. */
export const JOB_COLUMN_COUNT = CELLS.length + 1;

/**
 * The output list that reads a job. What most jobs do not have travels in one JSON column that is null for them: a
 * claim of hundreds of jobs parses fifteen cells each, not thirty-five.
 */
export function jobColumns(j: Jobs): SQL {
  return columns(...CELLS.map((name) => readable(j, name)), details(j));
}

/** Fields that are the same for all jobs of a claim: its caller knows them, and passes them to `readJob`. */
const KNOWN_TO_CLAIMER: readonly JobFieldName[] = ['queueName', 'state', 'lockUntil', 'lockedBy'];

/** The same of a job that was just claimed: without the fields that its claimer knows, and with its place. */
export function claimedColumns(j: Jobs): SQL {
  const cells = CELLS.map((name) => (KNOWN_TO_CLAIMER.includes(name) ? sql`null` : readable(j, name)));
  return columns(...cells, details(j), sql`${j}.ctid`);
}

const readable = (j: Jobs, name: JobFieldName): SQLWrapper =>
  JOB_FIELDS[name].type === 'time' ? epochMs(j[name]) : j[name];

function details(j: Jobs): SQL {
  const unset = DETAILS.map((name) => {
    const { absent } = JOB_FIELDS[name];
    return absent === 'null' ? sql`${j[name]} is null` : sql`${j[name]} = ${sql.raw(absent)}`;
  });
  const pairs = DETAILS.map((name) => sql`${literal(name)}, ${readable(j, name)}`);
  return sql`case when ${sql.join(unset, sql` and `)} then null else jsonb_build_object(${sql.join(pairs, sql`, `)}) end`;
}

/** @param claim for a row of `claimedColumns` */
export const readJob = (row: Row, claim?: Claim): StoredJob => new StoredJob(row, claim);

import { conveyorJobs } from '../../schema/index.js';

/** How a column's value travels in JSON. A time is a number of epoch milliseconds there, everything else as it is. */
export type FieldType = 'text' | 'jsonb' | 'int' | 'bigint' | 'float8' | 'boolean' | 'time';

export interface JobField {
  readonly type: FieldType;
  /** SQL of the value that most jobs have: an insert that is not given one, and starting over, make it this. */
  readonly absent: string;
  /** What may give it a value at insert: every new job, only a caller of `StoreInterface`, or only the statement. */
  readonly insert: 'new' | 'stored' | 'never';
  /** In a cell of its own, in the one JSON cell that is null for jobs without anything special, or not at all. */
  readonly read: 'cell' | 'detail' | 'never';
  /** A job that starts over loses it. */
  readonly reset: boolean;
}

type Options = Partial<Pick<JobField, 'insert' | 'read' | 'reset'>>;

const field = (type: FieldType, absent: string, { insert = 'stored', read = 'detail', reset = false }: Options = {}) =>
  ({ type, absent, insert, read, reset }) satisfies JobField;
const NEW_CELL = { insert: 'new', read: 'cell' } as const;
const NEW = { insert: 'new' } as const;
const RESET = { reset: true } as const;
const INTERNAL = { insert: 'never' } as const;

/**
 * The columns of `conveyor_jobs`, one line each: insert, read, update and reset derive from it. A new column is a line
 * here and one in the schema. Cells are read in this order.
 */
export const JOB_FIELDS = {
  id: field('text', 'null', NEW_CELL),
  name: field('text', 'null', NEW_CELL),
  queueName: field('text', 'null', NEW_CELL),
  data: field('jsonb', "'null'::jsonb", NEW_CELL),
  opts: field('jsonb', "'{}'::jsonb", NEW_CELL),
  state: field('text', 'null', NEW_CELL),
  attemptsMade: field('int', '0', { read: 'cell', reset: true }),
  lease: field('int', '0', { insert: 'never', read: 'cell' }),
  seq: field('bigint', 'null', { insert: 'never', read: 'cell' }),
  priority: field('int', '0', NEW_CELL),
  createdAt: field('time', 'null', NEW_CELL),
  processedAt: field('time', 'null', { read: 'cell', reset: true }),
  lockUntil: field('time', 'null', { read: 'cell', reset: true }),
  lockedBy: field('text', 'null', { read: 'cell', reset: true }),
  progress: field('float8', '0', RESET),
  returnvalue: field('jsonb', 'null', RESET),
  failedReason: field('text', 'null', RESET),
  logs: field('jsonb', "'[]'::jsonb"),
  stacktrace: field('jsonb', "'[]'::jsonb", RESET),
  attemptLogs: field('jsonb', "'[]'::jsonb"),
  completedAt: field('time', 'null', RESET),
  failedAt: field('time', 'null', RESET),
  cancelledAt: field('time', 'null', RESET),
  delayUntil: field('time', 'null', { insert: 'new', reset: true }),
  parentId: field('text', 'null', NEW),
  parentQueueName: field('text', 'null', NEW),
  pendingChildrenCount: field('int', '0', NEW),
  childrenIds: field('jsonb', "'[]'::jsonb", NEW),
  groupId: field('text', 'null', NEW),
  deduplicationKey: field('text', 'null', NEW),
  discarded: field('boolean', 'false', RESET),
  scheduleKey: field('text', 'null', NEW),
  childrenValues: field('jsonb', 'null', INTERNAL),
  stalledCount: field('int', '0', { insert: 'never', reset: true }),
  startedLease: field('int', 'null', { insert: 'never', reset: true }),
  startedAlone: field('boolean', 'false', { insert: 'never', read: 'never', reset: true }),
  removeAt: field('time', 'null', { insert: 'never', read: 'never', reset: true }),
} satisfies Record<keyof (typeof conveyorJobs)['_']['columns'], JobField>;

export type JobFieldName = keyof typeof JOB_FIELDS;

export const JOB_FIELD_NAMES = Object.keys(JOB_FIELDS) as JobFieldName[];

/** The names of the fields for which something holds, in the table's order. */
export const fieldsWhere = (holds: (field: JobField, name: JobFieldName) => boolean): JobFieldName[] =>
  JOB_FIELD_NAMES.filter((name) => holds(JOB_FIELDS[name], name));

/** A field's key on the wire: the name of its column. */
export const wireName = (name: JobFieldName): string => conveyorJobs[name].name;

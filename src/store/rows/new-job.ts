import type { NewJobData } from '../../model/job.js';
import { encodePayload } from '../../model/payload/values.js';

/** A job ready to be inserted: its id is set and its values are JSON text already. */
export interface JobRecord {
  readonly queueName: string;
  readonly id: string;
  readonly deduplicationKey: string | null;
  /** Nothing can be there before it, and it has none of the fields that only a store's caller sets. */
  readonly fresh: boolean;
  /** One JSON object, as the insert statements read it. */
  readonly json: string;
  readonly bytes: number;
}

export interface RecordOptions {
  maxPayloadBytes: number;
  /** ms from the database's clock; overrides `delayUntil`. */
  delayMs?: number | undefined;
  scheduleKey?: string | undefined;
  /** Its time of creation is the database's. */
  createdNow?: boolean | undefined;
  /** The id was made just now: no other job can have it. */
  ownId?: boolean | undefined;
}

/** Throws `InvalidPayloadError` for what jsonb cannot hold, before any SQL. */
export function encodeRecord(queueName: string, id: string, job: NewJobData, options: RecordOptions): JobRecord {
  const maxBytes = options.maxPayloadBytes;
  const json = (value: unknown, path: string) => encodePayload(value, { path, maxBytes });
  const data = json(job.data, 'data');
  const { opts } = job;
  const fields = [
    `"q":${json(queueName, 'queueName')},"id":${json(id, 'id')},"name":${json(job.name, 'name')}`,
    `"data":${data},"state":"${job.state}"`,
    options.createdNow !== true && `"created":${job.createdAt.getTime()}`,
    hasKeys(opts) && `"opts":${json(opts, 'opts')}`,
    Boolean(opts.priority) && `"priority":${opts.priority}`,
    opts.lifo === true && '"lifo":true',
    options.delayMs !== undefined && `"delay":${options.delayMs}`,
    job.delayUntil != null && options.delayMs === undefined && `"until":${job.delayUntil.getTime()}`,
    job.deduplicationKey != null && `"dedup":${json(job.deduplicationKey, 'deduplicationKey')}`,
    job.groupId != null && `"grp":${json(job.groupId, 'groupId')}`,
    job.parentId != null && `"parent":${json(job.parentId, 'parentId')}`,
    job.parentQueueName != null && `"parentq":${json(job.parentQueueName, 'parentQueueName')}`,
    job.pendingChildrenCount > 0 && `"pending":${job.pendingChildrenCount}`,
    job.childrenIds?.length > 0 && `"children":${json(job.childrenIds, 'childrenIds')}`,
    options.scheduleKey !== undefined && `"schedule":${json(options.scheduleKey, 'schedule')}`,
  ].filter(Boolean);
  const more = laterFields(job, json);
  const text = `{${[...fields, ...more].join(',')}}`;
  const deduplicationKey = job.deduplicationKey ?? null;
  const fresh = options.ownId === true && deduplicationKey === null && more.length === 0;
  return { queueName, id, deduplicationKey, fresh, json: text, bytes: text.length };
}

/** What only a store's caller sets: a new job of a queue has none of it. */
function laterFields(job: NewJobData, json: (value: unknown, path: string) => string): string[] {
  const fields: (string | false)[] = [
    job.attemptsMade > 0 && `"attempts":${job.attemptsMade}`,
    job.progress > 0 && `"progress":${job.progress}`,
    job.returnvalue != null && `"ret":${json(job.returnvalue, 'returnvalue')}`,
    job.failedReason != null && `"reason":${json(job.failedReason, 'failedReason')}`,
    job.logs?.length > 0 && `"logs":${json(job.logs, 'logs')}`,
    job.stacktrace?.length > 0 && `"stack":${json(job.stacktrace, 'stacktrace')}`,
    job.attemptLogs?.length > 0 && `"attemptlogs":${json(job.attemptLogs, 'attemptLogs')}`,
    job.processedAt != null && `"processed":${job.processedAt.getTime()}`,
    job.completedAt != null && `"completed":${job.completedAt.getTime()}`,
    job.failedAt != null && `"failed":${job.failedAt.getTime()}`,
    job.lockUntil != null && `"lock":${job.lockUntil.getTime()}`,
    job.cancelledAt != null && `"cancelled":${job.cancelledAt.getTime()}`,
    job.lockedBy != null && `"worker":${json(job.lockedBy, 'lockedBy')}`,
    job.discarded && '"discarded":true',
  ];
  return fields.filter((field) => field !== false);
}

function hasKeys(object: object): boolean {
  for (const _ in object) return true;
  return false;
}

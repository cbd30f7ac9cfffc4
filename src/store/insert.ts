import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import type { Relations } from '../db/relation.js';
import { columns, epochMs, instantOf, interval, now, statement } from '../db/statement.js';
import type { JobState, NewJobData } from '../model/job.js';
import { encodePayload } from '../model/values.js';

/** A job ready to be inserted: its id is set and its values are JSON text already. */
export interface JobRecord {
  readonly queueName: string;
  readonly id: string;
  readonly deduplicationKey: string | null;
  /** One JSON object, as the insert statements read it. */
  readonly json: string;
  readonly bytes: number;
}

export interface RecordOptions {
  maxPayloadBytes: number;
  /** ms from the database's clock; overrides `delayUntil`. */
  delayMs?: number | undefined;
  scheduleKey?: string | undefined;
}

/** Throws `InvalidPayloadError` for what jsonb cannot hold, before any SQL. */
export function encodeRecord(queueName: string, id: string, job: NewJobData, options: RecordOptions): JobRecord {
  const maxBytes = options.maxPayloadBytes;
  const json = (value: unknown, path: string) => encodePayload(value, { path, maxBytes });
  const data = json(job.data, 'data');
  const { opts } = job;
  const fields: (string | false)[] = [
    `"q":${json(queueName, 'queueName')},"id":${json(id, 'id')},"name":${json(job.name, 'name')}`,
    `"data":${data},"state":"${job.state}","created":${job.createdAt.getTime()}`,
    hasKeys(opts) && `"opts":${json(opts, 'opts')}`,
    Boolean(opts.priority) && `"priority":${opts.priority}`,
    opts.lifo === true && '"lifo":true',
    options.delayMs !== undefined && `"delay":${options.delayMs}`,
    job.delayUntil !== null && options.delayMs === undefined && `"until":${job.delayUntil.getTime()}`,
    job.deduplicationKey !== null && `"dedup":${json(job.deduplicationKey, 'deduplicationKey')}`,
    job.groupId !== null && `"grp":${json(job.groupId, 'groupId')}`,
    job.parentId !== null && `"parent":${json(job.parentId, 'parentId')}`,
    job.parentQueueName !== null && `"parentq":${json(job.parentQueueName, 'parentQueueName')}`,
    job.pendingChildrenCount > 0 && `"pending":${job.pendingChildrenCount}`,
    job.childrenIds.length > 0 && `"children":${json(job.childrenIds, 'childrenIds')}`,
    options.scheduleKey !== undefined && `"schedule":${json(options.scheduleKey, 'schedule')}`,
    // What only a store's caller sets: a new job of a queue has none of it.
    job.attemptsMade > 0 && `"attempts":${job.attemptsMade}`,
    job.progress > 0 && `"progress":${job.progress}`,
    job.returnvalue != null && `"ret":${json(job.returnvalue, 'returnvalue')}`,
    job.failedReason !== null && `"reason":${json(job.failedReason, 'failedReason')}`,
    job.logs.length > 0 && `"logs":${json(job.logs, 'logs')}`,
    job.stacktrace.length > 0 && `"stack":${json(job.stacktrace, 'stacktrace')}`,
    job.attemptLogs.length > 0 && `"attemptlogs":${json(job.attemptLogs, 'attemptLogs')}`,
    job.processedAt !== null && `"processed":${job.processedAt.getTime()}`,
    job.completedAt !== null && `"completed":${job.completedAt.getTime()}`,
    job.failedAt !== null && `"failed":${job.failedAt.getTime()}`,
    job.lockUntil !== null && `"lock":${job.lockUntil.getTime()}`,
    job.cancelledAt !== null && `"cancelled":${job.cancelledAt.getTime()}`,
    job.lockedBy !== null && `"worker":${json(job.lockedBy, 'lockedBy')}`,
    job.discarded && '"discarded":true',
  ];
  const text = `{${fields.filter(Boolean).join(',')}}`;
  return { queueName, id, deduplicationKey: job.deduplicationKey, json: text, bytes: text.length };
}

function hasKeys(object: object): boolean {
  for (const _ in object) return true;
  return false;
}

/** The batch as rows, in its order; `seq` is taken here so that the order of insertion may differ from it. */
function input(db: Relations, jobs: SQL): SQL {
  return sql`select x.*, case when x.lifo then -${db.nextSeq} else ${db.nextSeq} end as seq
    from rows from (jsonb_to_recordset(${jobs}::jsonb) as (
      q text, id text, name text, data jsonb, state text, created float8, opts jsonb, priority int, lifo boolean,
      delay float8, until float8, dedup text, grp text, parent text, parentq text, pending int, children jsonb,
      schedule text, attempts int, progress float8, ret jsonb, reason text, logs jsonb, stack jsonb, attemptlogs jsonb,
      processed float8, completed float8, failed float8, lock float8, cancelled float8, worker text, discarded boolean)) with ordinality x`;
}

const list = (value: SQL): SQL => sql`coalesce(${value}, '[]'::jsonb)`;
const at = (ms: SQL): SQL => instantOf(ms);

/** Column by column, what an input row `x` becomes. */
function assignments(db: Relations): [SQL, SQL][] {
  const { col } = db.jobs;
  return [
    [col.queueName, sql`x.q`],
    [col.id, sql`x.id`],
    [col.seq, sql`x.seq`],
    [col.name, sql`x.name`],
    [col.data, sql`coalesce(x.data, 'null'::jsonb)`],
    [col.state, sql`x.state`],
    [col.createdAt, at(sql`x.created`)],
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
export function insertSelect(db: Relations): SQL {
  const pairs = assignments(db);
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

export { input as insertInput };

/** Jobs without a deduplication key. An id that exists is left alone and not returned. */
const insertJobs = statement(
  'insert jobs',
  ['jobs'],
  (db, p) => sql`
    insert into ${db.jobs.table} ${insertSelect(db)} from (${input(db, p.jobs)}) x
    on conflict do nothing
    returning ${columns(db.jobs.col.queueName, db.jobs.col.id, epochMs(db.jobs.col.delayUntil))}`,
  // Ids are the caller's: sent again, it finds its own rows and inserts nothing twice.
  { repeatable: true },
);

/**
 * Jobs of which some have a deduplication key. The unique partial index decides who is first; rows are inserted in
 * the order of their keys, so that two batches wait for each other only in one direction. A holder whose time to
 * live has passed gives its key up in the same statement. Answers per job with the id that holds its key now, or
 * null when another transaction's holder is not visible to this statement yet: then the caller asks again.
 */
const insertDeduplicated = statement(
  'insert deduplicated jobs',
  ['jobs'],
  (db, p) => {
    const j = db.jobs.of('j');
    const { col } = db.jobs;
    return sql`
    with x as materialized (${input(db, p.jobs)}),
    expired as materialized (
      select ${j.queueName} as q, ${j.id} as id from ${db.jobs.as('j')}
      join (select distinct q, dedup from x where dedup is not null) k
        on ${j.queueName} = k.q and ${j.deduplicationKey} = k.dedup
      where ${holdsKey(j)} and ${keyExpired(j)}
      order by ${j.queueName}, ${j.deduplicationKey} for update of j),
    freed as (
      update ${db.jobs.as('j')} set ${col.deduplicationKey} = null from expired e
      where ${j.queueName} = e.q and ${j.id} = e.id and ${holdsKey(j)} and ${keyExpired(j)}
      returning ${j.queueName} as q, ${j.id} as id),
    inserted as (
      insert into ${db.jobs.table} ${insertSelect(db)} from x
      where (select count(*) from freed) >= 0
      order by x.q, x.dedup nulls first, x.ordinality
      on conflict do nothing
      returning ${col.queueName} as q, ${col.id} as id, ${col.deduplicationKey} as dedup, ${col.delayUntil} as until)
    select ${columns(
      sql`x.q`,
      sql`x.id`,
      sql`coalesce(i.id, k.id, h.id, s.id)`,
      sql`i.id is not null`,
      epochMs(sql`i.until`),
    )}
    from x
    left join inserted i on i.q = x.q and i.id = x.id
    left join inserted k on k.q = x.q and k.dedup = x.dedup
    left join lateral (
      select ${j.id} as id from ${db.jobs.as('j')}
      where ${j.queueName} = x.q and ${j.deduplicationKey} = x.dedup and ${holdsKey(j)}
        and not exists (select 1 from freed f where f.q = ${j.queueName} and f.id = ${j.id}) limit 1) h on true
    left join lateral (
      select ${j.id} as id from ${db.jobs.as('j')} where ${j.queueName} = x.q and ${j.id} = x.id limit 1) s on true
    order by x.ordinality`;
  },
  { repeatable: true },
);

type JobNames = ReturnType<Relations['jobs']['of']>;

/** As in the predicate of the unique index, so that the index serves it. */
export function holdsKey(j: JobNames): SQL {
  return sql`${j.deduplicationKey} is not null and ${j.state} not in ('completed', 'failed')`;
}

/** Past the time to live in the stored job's options; options changed by hand to nonsense never expire. */
export function keyExpired(j: JobNames): SQL {
  const ttl = sql`${j.opts} #> '{deduplication,ttl}'`;
  return sql`(case when jsonb_typeof(${ttl}) = 'number'
    then ${j.createdAt} + (${ttl})::text::float8 * interval '1 millisecond' < now() else false end)`;
}

export interface Saved {
  /** The job's id: its own, or that of the job that was there before it. */
  readonly id: string;
  readonly created: boolean;
  readonly delayUntil: Date | null;
}

const KEY_RACE_ROUNDS = 20;

/** Inserts a batch in one statement; answers in its order. */
export async function insertBatch(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  if (records.length === 0) return [];
  return records.some((record) => record.deduplicationKey !== null)
    ? insertByKey(executor, records)
    : insertPlain(executor, records);
}

const asJson = (records: readonly JobRecord[]) => `[${records.map((record) => record.json).join(',')}]`;

async function insertPlain(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  const rows = await executor.run(insertJobs, { jobs: asJson(records) });
  const inserted = new Map(rows.map(([q, id, until]) => [`${q}\n${id}`, until]));
  return records.map(({ queueName, id }) => {
    const key = `${queueName}\n${id}`;
    const until = inserted.get(key);
    const created = inserted.delete(key);
    return { id, created, delayUntil: until == null ? null : new Date(Number(until)) };
  });
}

async function insertByKey(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  const saved: Saved[] = new Array(records.length);
  let open = records.map((_, i) => i);
  for (let round = 0; open.length > 0; round++) {
    const batch = open.map((i) => records[i] as JobRecord);
    const rows = await executor.run(insertDeduplicated, { jobs: asJson(batch) });
    const unresolved: number[] = [];
    rows.forEach(([, , id, created, until], n) => {
      const i = open[n] as number;
      if (id == null) unresolved.push(i);
      else saved[i] = { id, created: created === 'true', delayUntil: until == null ? null : new Date(Number(until)) };
    });
    // The holder was committed after this statement began, or ended meanwhile: the next snapshot tells.
    if (round >= KEY_RACE_ROUNDS) throw new Error('a deduplication key changed hands too often to be decided');
    open = unresolved;
  }
  return saved;
}

/** What a job that is saved without a state of its own starts in. */
export const initialState = (delayMs: number): JobState => (delayMs > 0 ? 'delayed' : 'waiting');

import { sql } from 'drizzle-orm';
import { codeOf } from '../../db/errors.js';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { epochMs, now } from '../../db/time.js';
import { ConveyorError } from '../../model/errors.js';
import { insertInput, insertSelect } from '../rows/insert-columns.js';
import type { JobRecord } from '../rows/new-job.js';
import { freedKeys, holdsKey, keyExpired } from '../rules/deduplication.js';
import { insertAllPlain } from './insert-plain.js';

export { insertInput, insertSelect } from '../rows/insert-columns.js';
export { encodeRecord, type JobRecord, plainRecord, type RecordOptions } from '../rows/new-job.js';

/**
 * Jobs that cannot conflict with any other. Without `on conflict` the server neither looks for a conflict first nor
 * inserts each row provisionally, which is a sixth of the statement's time. Answers only with what it decides itself: the
 * times at which delayed jobs come due, and, without an id, the time of creation of all.
 */
const insertFresh = statement(
  'insert fresh jobs',
  ['jobs'],
  (db, p) => sql`
    with inserted as (
      insert into ${db.jobs} ${insertSelect(db, 'new')} from (${insertInput(db, p.jobs, 'new')}) x
      returning ${bare(db.jobs).queueName} as q, ${bare(db.jobs).id} as id, ${bare(db.jobs).delayUntil} as until)
    select ${columns(sql`q`, sql`id`, epochMs(sql`until`))} from inserted where until is not null
    union all select null, null, (${epochMs(now)})::text`,
  // Sent again after its answer was lost, it fails on its own rows, and `insertBatch` then finds them.
  { repeatable: true },
);

/**
 * Jobs without a deduplication key. A job whose id exists is left as it is and not returned. In the order of their ids,
 * so that two batches with the same ids do not deadlock.
 */
const insertJobs = statement(
  'insert jobs',
  ['jobs'],
  (db, p) => sql`
    insert into ${db.jobs} ${insertSelect(db)} from (${insertInput(db, p.jobs)}) x
    order by x.queue_name, x.id, x.ordinality
    on conflict do nothing
    returning ${columns(bare(db.jobs).queueName, bare(db.jobs).id, epochMs(bare(db.jobs).delayUntil), epochMs(bare(db.jobs).createdAt))}`,
  // Ids are the caller's: sent again, it finds its own rows and inserts nothing twice.
  { repeatable: true },
);

/**
 * Jobs of which some have a deduplication key. The unique partial index decides which job gets a key. Rows are inserted
 * in the order of their keys, so that two batches do not deadlock. A holder whose time to live has passed loses its key
 * in the same statement. Answers per job with the id that holds its key, or null when the holder of another transaction
 * is not visible to this statement yet: it must be sent again.
 */
const insertDeduplicated = statement(
  'insert deduplicated jobs',
  ['jobs'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const col = bare(db.jobs);
    return sql`
    with x as materialized (${insertInput(db, p.jobs)}),
    ${freedKeys(db)},
    inserted as (
      insert into ${db.jobs} ${insertSelect(db)} from x
      where (select count(*) from freed) >= 0
      order by x.queue_name, x.deduplication_key nulls first, case when x.deduplication_key is null then x.id end, x.ordinality
      on conflict do nothing
      returning ${col.queueName} as q, ${col.id} as id, ${col.deduplicationKey} as dedup, ${col.delayUntil} as until, ${col.createdAt} as created_at,
        ${col.seq} as seq, ${col.state} not in ('completed', 'failed') as live)
    select ${columns(
      sql`x.queue_name`,
      sql`x.id`,
      sql`coalesce(i.id, k.id, h.id, s.id)`,
      sql`i.id is not null`,
      epochMs(sql`i.until`),
      epochMs(sql`i.created_at`),
    )}
    from x
    left join inserted i on i.seq = x.seq
    left join inserted k on k.q = x.queue_name and k.dedup = x.deduplication_key and k.live
    left join lateral (
      select ${j.id} as id from ${db.jobs} as ${j}
      where ${j.queueName} = x.queue_name and ${j.deduplicationKey} = x.deduplication_key and ${holdsKey(j)} and not ${keyExpired(j)}
        and not exists (select 1 from freed f where f.q = ${j.queueName} and f.id = ${j.id}) limit 1) h on true
    left join lateral (
      select ${j.id} as id from ${db.jobs} as ${j} where ${j.queueName} = x.queue_name and ${j.id} = x.id limit 1) s on true
    order by x.ordinality`;
  },
  { repeatable: true },
);

export interface Saved {
  /** The job's id: its own, or that of the job that was there before it. */
  readonly id: string;
  readonly created: boolean;
  readonly delayUntil: Date | null;
  /** By the database's clock, unless the record has its own; null: the job was there before. */
  readonly createdAt: Date | null;
}

const KEY_RACE_ROUNDS = 20;

/** Inserts a batch in one statement; answers in its order. */
export async function insertBatch(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  if (records.length === 0) return [];
  if (records.every((record) => record.fresh)) {
    const saved = await insertAllFresh(executor, records).catch((error) => {
      // They are there already: the answer to the first try was lost with its connection.
      if (codeOf(error) === '23505') return undefined;
      throw error;
    });
    if (saved) return saved;
  }
  return records.some((record) => record.deduplicationKey !== null)
    ? insertByKey(executor, records)
    : insertById(executor, records);
}

async function insertAllFresh(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  const plain = await insertAllPlain(executor, records);
  if (plain) return records.map(({ id }) => ({ id, created: true, createdAt: plain.createdAt, delayUntil: null }));
  const rows = await executor.run(insertFresh, { jobs: asJson(records) });
  const times = new Map(rows.map(([q, id, ms]) => [q == null ? '' : `${q}\n${id}`, dateOf(ms)]));
  const createdAt = times.get('') ?? null;
  return records.map(({ queueName, id }) => ({
    id,
    created: true,
    createdAt,
    // Most batches have no delayed job.
    delayUntil: times.size === 1 ? null : (times.get(`${queueName}\n${id}`) ?? null),
  }));
}

/** A cell of epoch milliseconds. */
export const dateOf = (ms: string | null | undefined): Date | null => (ms == null ? null : new Date(Number(ms)));

const asJson = (records: readonly JobRecord[]) => `[${records.map((record) => record.json).join(',')}]`;

async function insertById(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  const rows = await executor.run(insertJobs, { jobs: asJson(records) });
  const inserted = new Map(
    rows.map(([q, id, until, at]) => [`${q}\n${id}`, { delayUntil: dateOf(until), createdAt: dateOf(at) }]),
  );
  return records.map(({ queueName, id }) => {
    const key = `${queueName}\n${id}`;
    const times = inserted.get(key) ?? { delayUntil: null, createdAt: null };
    return { id, created: inserted.delete(key), ...times };
  });
}

async function insertByKey(executor: Executor, records: readonly JobRecord[]): Promise<Saved[]> {
  const saved: Saved[] = new Array(records.length);
  let open = records.map((_, i) => i);
  for (let round = 0; open.length > 0; round++) {
    const batch = open.map((i) => records[i] as JobRecord);
    const rows = await executor.run(insertDeduplicated, { jobs: asJson(batch) });
    const unresolved: number[] = [];
    rows.forEach(([, , id, created, until, at], n) => {
      const i = open[n] as number;
      if (id == null) unresolved.push(i);
      else saved[i] = { id, created: created === 'true', delayUntil: dateOf(until), createdAt: dateOf(at) };
    });
    // The holder was committed after this statement began, or has ended meanwhile: the next snapshot decides.
    if (round >= KEY_RACE_ROUNDS) {
      throw new ConveyorError('Which job has a deduplication key changed too often to be decided: try again.', {
        code: 'DEDUPLICATION_CONTENDED',
      });
    }
    open = unresolved;
  }
  return saved;
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, literal, type Tables } from '../../db/tables.js';
import type { JobState } from '../../model/job.js';
import { inState } from '../rules/states.js';
import { CHUNK } from './chunks.js';

/** Rows that a run examines at most; the next one goes on from there. */
const CHUNKS_PER_RUN = 20;
/**
 * An idle row is kept this long: fetches are remembered for an hour, for a longer window that may follow, and a group
 * with a job now and then keeps its place in the order of service.
 */
const KEPT_MS = literal(3_600_000);
/** 6,000 years: before that Postgres has no times. */
const MAX_WINDOW_MS = literal(200_000_000_000_000);
/** Of the advisory lock of a run; the other half of its key is the table. */
const LOCK_CLASS = literal(1_668_247_158);

/** Before the longest window that was asked for. */
const longAgo = (windowMs: SQLWrapper): SQL =>
  sql`now() - least(${MAX_WINDOW_MS}, greatest(${windowMs}, ${KEPT_MS})) * interval '1 millisecond'`;

const RUNNABLE: readonly JobState[] = ['waiting', 'delayed', 'active'];

/** No job waits, is delayed or is active. A probe of an index for each: an EXISTS may be planned as a scan for all rows. */
function noJob(db: Tables, queue: SQLWrapper, group?: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const own = group === undefined ? sql`` : sql` and ${j.groupId} = ${group}`;
  const probes = RUNNABLE.map(
    (state) => sql`(select true from ${db.jobs} as ${j} where ${j.queueName} = ${queue} and ${inState(j, state)}${own}
      limit 1) is null`,
  );
  return sql.join(probes, sql` and `);
}

interface Keyed {
  readonly name: string;
  table(db: Tables): PgTable;
  /** The columns of its primary key. */
  key(db: Tables): readonly [SQL | SQLWrapper, SQL | SQLWrapper];
  /** It was not used for long. Read in the newest version of the row. */
  unused(db: Tables): SQL;
  /** Nothing needs it. */
  unneeded(db: Tables): SQL;
}

/**
 * Deletes idle ones of the next rows in the order of the key; nothing while another process does. Rows that claims and
 * adds hold are passed over, and a row that they have used meanwhile is recognized by its time. Who has read a row that
 * is gone by the time they lock it does so again, and finds or makes another.
 */
function deletionOf({ name, table, key, unused, unneeded }: Keyed) {
  return statement(`delete idle ${name}`, ['first', 'second', 'limit'], (db, p) => {
    const r = sql.identifier('r');
    const rows = sql`${table(db)} as ${r}`;
    const [first, second] = key(db);
    const order = sql`${first}, ${second}`;
    const found = sql`${r}.ctid = any(array(select place from examined where unused))`;
    return sql`
      with turn as materialized (
        select pg_try_advisory_xact_lock(${LOCK_CLASS}, t.relation::int) as taken
        from (select ${r}.tableoid as relation from ${rows} limit 1) t),
      examined as materialized (
        select ${r}.ctid as place, ${first} as first, ${second} as second, ${unused(db)} as unused from ${rows}
        where (${order}) > (${p.first}, ${p.second}) and (select taken from turn) order by ${order} limit ${p.limit}::int),
      picked as materialized (
        select ${r}.ctid as place from ${rows} where ${found} and ${unused(db)} and ${unneeded(db)}
        for update skip locked),
      deleted as (delete from ${rows} where ${r}.ctid = any(array(select place from picked)) returning 1)
      select ${columns(
        sql`e.first`,
        sql`e.second`,
        sql`(select count(*) from examined)`,
        sql`(select count(*) from deleted)`,
      )} from examined e order by e.first desc, e.second desc limit 1`;
  });
}

const cursors = deletionOf({
  name: 'group cursors',
  table: (db) => db.groupCursors,
  key: (db) => [alias(db.groupCursors, 'r').queueName, alias(db.groupCursors, 'r').groupId],
  unused: (db) => {
    const r = alias(db.groupCursors, 'r');
    return sql`greatest(${r.lastServedAt}, ${r.surveyDue}, '-infinity') < ${longAgo(r.windowMs)}`;
  },
  unneeded: (db) => {
    const r = alias(db.groupCursors, 'r');
    // The row of the jobs without a group also holds what its queue knows about its groups.
    return sql`case when ${r.groupId} = '' then ${noJob(db, r.queueName)}
      else ${noJob(db, r.queueName, r.groupId)} end`;
  },
});

const limits = deletionOf({
  name: 'rate limits',
  table: (db) => db.rateLimits,
  key: (db) => [alias(db.rateLimits, 'r').queueName, sql`''::text`],
  unused: (db) => {
    const r = alias(db.rateLimits, 'r');
    const log = sql`jsonb_array_elements(case jsonb_typeof(${r.fetches}) when 'array' then ${r.fetches} end)`;
    return sql`coalesce((select max((e ->> 0)::float8) from ${log} e), 0)
      < extract(epoch from ${longAgo(r.windowMs)}) * 1000`;
  },
  unneeded: (db) => noJob(db, alias(db.rateLimits, 'r').queueName),
});

/** Deletes the rows of groups and queues that have had nothing to do for an hour, a part of them with each run. */
export class IdleRows {
  readonly #executor: () => Executor;
  readonly #parts = [cursors, limits].map((deletion) => ({ deletion, after: { first: '', second: '' } }));

  constructor(executor: () => Executor) {
    this.#executor = executor;
  }

  async run(): Promise<void> {
    for (const part of this.#parts) {
      for (let chunk = 0; chunk < CHUNKS_PER_RUN; chunk++) {
        const [row] = await this.#executor().run(part.deletion, { ...part.after, limit: CHUNK });
        const [first, second, examined] = row ?? [];
        const more = Number(examined) >= CHUNK;
        part.after = more ? { first: first as string, second: second as string } : { first: '', second: '' };
        if (!more) break;
      }
    }
  }
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { isDeduplicationConflict } from '../../db/errors.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { statementTime } from '../../db/time.js';

/** The CTE `freed(q, id)`: jobs that held a key of `x(q, dedup)` beyond its time to live, and no longer have it. */
export function freedKeys(db: Tables): SQL {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  return sql`
    expired as materialized (
      select ${j.queueName} as q, ${j.id} as id from ${db.jobs} as ${j}
      join (select distinct x.queue_name as q, x.deduplication_key as dedup from x where x.deduplication_key is not null) k
        on ${j.queueName} = k.q and ${j.deduplicationKey} = k.dedup
      where ${holdsKey(j)} and ${keyExpired(j)}
      order by ${j.queueName}, ${j.deduplicationKey} for update of j),
    freed as (
      update ${db.jobs} as ${j} set ${col.deduplicationKey} = null from expired e
      where ${j.queueName} = e.q and ${j.id} = e.id and ${holdsKey(j)} and ${keyExpired(j)}
      returning ${j.queueName} as q, ${j.id} as id)`;
}

/** As in the predicate of the unique index, so that the index serves it. */
export function holdsKey(j: Jobs): SQL {
  return sql`${j.deduplicationKey} is not null and ${j.state} not in ('completed', 'failed')`;
}

/** Past the time to live in the stored job's options; options that were changed by hand to something else never expire. */
export function keyExpired(j: Jobs): SQL {
  const ttl = sql`${j.opts} #> '{deduplication,ttl}'`;
  return sql`(case when jsonb_typeof(${ttl}) = 'number'
    then ${j.createdAt} + (${ttl})::text::float8 * interval '1 millisecond' < ${statementTime} else false end)`;
}

/** Another live job of row `j`'s queue holds the key, as far as the statement can see. */
export function heldByAnother(db: Tables, key: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const h = alias(db.jobs, 'h');
  return sql`exists (select 1 from ${db.jobs} as ${h} where ${h.queueName} = ${j.queueName}
    and ${h.deduplicationKey} = ${key} and ${h.id} <> ${j.id} and ${holdsKey(h)})`;
}

const ROUNDS = 3;

/**
 * Runs a statement that makes a job live again with its deduplication key. The unique index decides which job holds a
 * key: after a conflict, the next snapshot shows the holder; after several, the job loses its key (`drop`).
 */
export async function retryOnKeyConflict<T>(run: (drop: 'drop' | null) => Promise<T>): Promise<T> {
  for (let round = 1; ; round++) {
    try {
      return await run(round <= ROUNDS ? null : 'drop');
    } catch (error) {
      if (!isDeduplicationConflict(error) || round > ROUNDS) throw error;
    }
  }
}

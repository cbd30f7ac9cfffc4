import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { isDeduplicationConflict } from '../../db/errors.js';
import { alias, type Tables } from '../../db/tables.js';
import { holdsKey } from '../add/insert.js';

/** Another live job of row `j`'s queue holds the key, as far as the statement can see. */
export function heldByAnother(db: Tables, key: SQLWrapper): SQL {
  const j = alias(db.jobs, 'j');
  const h = alias(db.jobs, 'h');
  return sql`exists (select 1 from ${db.jobs} as ${h} where ${h.queueName} = ${j.queueName}
    and ${h.deduplicationKey} = ${key} and ${h.id} <> ${j.id} and ${holdsKey(h)})`;
}

const ROUNDS = 3;

/**
 * Runs a statement that brings a job back to life with its deduplication key. The unique index decides who holds a
 * key: when it refused, the holder can be seen the next time; at last the job gives its key up unasked (`drop`).
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

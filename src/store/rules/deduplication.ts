import { type SQL, sql } from 'drizzle-orm';
import { isDeduplicationConflict } from '../../db/errors.js';
import type { Relations } from '../../db/relation.js';
import { holdsKey } from '../add/insert.js';

/** Another live job of row `j`'s queue holds the key, as far as the statement can see. */
export function heldByAnother(db: Relations, key: SQL): SQL {
  const j = db.jobs.of('j');
  const h = db.jobs.of('h');
  return sql`exists (select 1 from ${db.jobs.as('h')} where ${h.queueName} = ${j.queueName}
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

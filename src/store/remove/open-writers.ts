import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { ConveyorError } from '../../model/errors.js';
import { ofAnyJob } from '../rules/states.js';

/** How long transactions that were writing jobs when the queue was stopped may take to end, in ms. */
const WRITERS_LIMIT = 10_000;
const WRITERS_POLL = 10;

/**
 * Transactions that may be claiming a job right now: whatever changes jobs holds this lock from before it takes its
 * snapshot until it has ended. `known` is null for all of them, else those of a JSON array that have not ended.
 */
const selectWriters = statement(
  'writers of jobs',
  ['queue', 'known'],
  (db, p) => {
    return sql`select ${columns(sql`l.virtualtransaction`)} from pg_locks l
      where l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.pid is distinct from pg_backend_pid()
        and l.database = (select oid from pg_database where datname = current_database())
        and l.relation = ${ofAnyJob(db, p.queue, sql`"j".tableoid`)}
        and (${p.known} is null or l.virtualtransaction in (select jsonb_array_elements_text(${p.known}::jsonb)))`;
  },
  { repeatable: true },
);

/**
 * Resolves when every transaction that was writing jobs at the time of the call has ended. A queue without jobs has
 * none.
 *
 * @throws ConveyorError `QUEUE_BUSY` when one of them stays open
 */
export async function waitForOpenWriters(executor: Executor, queue: string): Promise<void> {
  const deadline = performance.now() + WRITERS_LIMIT;
  const ask = async (known: string | null) => (await executor.run(selectWriters, { queue, known })).map(([id]) => id);
  let open = await ask(null);
  while (open.length > 0) {
    if (performance.now() > deadline) {
      throw new ConveyorError(
        `Queue "${queue}" cannot be obliterated: for ${WRITERS_LIMIT} ms a transaction has been open that writes jobs ` +
          'and may hold an active one; nothing was removed.',
        { code: 'QUEUE_BUSY' },
      );
    }
    await sleep(WRITERS_POLL);
    open = await ask(JSON.stringify(open));
  }
}

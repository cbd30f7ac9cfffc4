import { sql } from 'drizzle-orm';
import { cte } from '../../db/cte.js';
import { type Statement, variants } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { now } from '../../db/time.js';
import { appended, endedNow } from '../rules/attempt-record.js';
import { heldBy } from '../rules/lease.js';
import { outcomeOf } from '../rules/outcomes.js';
import { deletedAtOnce, expiresAt } from '../rules/retention.js';
import { SETTLE_AXES, type SettleShape, settleName, settleTail, withLockTimeout } from './fragments.js';
import type { Settlement } from './settlement.js';

const claims = cte('claims', ['number', 'queueName', 'worker', 'records']);
const input = cte('input', [
  'position',
  'queueName',
  'id',
  'lease',
  'worker',
  'active',
  'returnvalue',
  'keepMs',
  'records',
]);

/**
 * Nothing but completions, the most frequent end: all that there is to decide is known when the statement is planned.
 * What jobs that were claimed together have in common travels once: queue, worker and the record of the attempt. A job
 * that is cancelled is passed over; the general statement then ends it.
 *
 * Rows are updated without being locked first, which would cost a fifth of the statement. No two batches can deadlock:
 * the fence gives each row to one worker, and a store settles one batch after the other.
 */
export const completeStatement: (shape: SettleShape) => Statement<'batch' | 'claims' | 'shard' | 'lockTimeout'> =
  variants(SETTLE_AXES, (shape, declare) =>
    declare(
      settleName('complete', shape),
      ['batch', 'claims', 'shard', 'lockTimeout'],
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const col = bare(db.jobs);
        const { position, returnvalue, keepMs, records } = input;
        const held = sql`${j.queueName} = ${input.queueName} and ${j.id} = ${input.id}
          and ${heldBy(j, input.lease, input.worker, input.active)} and ${j.cancelledAt} is null`;
        // As a sub-select it is computed once, not for each row.
        const at = sql`(select ${now})`;
        const outcome = sql`${outcomeOf(j, {
          state: sql`'completed'`,
          reason: sql`null::text`,
          returnvalue,
          expires: sql`${keepMs} is not null`,
        })}, ${position}, false`;
        return sql`
          with ${claims.as(sql`
            select number, queue_name, worker, jsonb_build_array(record || jsonb_build_object('endedAt', ${endedNow}))
            from rows from (jsonb_to_recordset(${p.claims}::jsonb) as (queue_name text, worker text, record jsonb))
              with ordinality as c(queue_name, worker, record, number)`)},
          ${input.as(sql`
            select i.position, ${claims.queueName}, i.id, i.lease, ${claims.worker}, 'active', i.returnvalue, i.keep_ms,
              ${claims.records}
            from rows from (jsonb_to_recordset(${p.batch}::jsonb)
                as (claim int, id text, lease int, returnvalue jsonb, keep_ms float8))
              with ordinality as i(claim, id, lease, returnvalue, keep_ms, position)
            join ${claims.table} on ${claims.number} = i.claim where ${withLockTimeout(p.lockTimeout)}
            order by ${claims.queueName}, i.id`)},
          settled as (
            update ${db.jobs} as ${j} set
              ${col.state} = 'completed', ${col.lockUntil} = null, ${col.lockedBy} = null, ${col.delayUntil} = null,
              ${col.returnvalue} = ${returnvalue}, ${col.completedAt} = ${at}, ${col.failedReason} = null,
              ${col.attemptLogs} = case when ${j.attemptLogs} = '[]'::jsonb then ${records}
                else ${appended(j.attemptLogs, records)} end,
              ${col.removeAt} = ${expiresAt(keepMs)}
            from ${input.table} where ${held}${shape.removal ? sql` and not ${deletedAtOnce(keepMs)}` : sql``}
            returning ${outcome}, false),
          ${
            shape.removal
              ? sql`deleted as (
            delete from ${db.jobs} as ${j} using ${input.table} where ${held} and ${deletedAtOnce(keepMs)}
            returning ${outcome}, true),`
              : sql``
          }
          ${settleTail(db, shape, p.shard)}`;
      },
      // Fenced against itself: what it completed once is no longer active under that lease.
      { repeatable: true },
    ),
  );

/** Nothing but completions whose attempt is known by its number. */
export const allCompleted = (batch: readonly Settlement[]) =>
  batch.every(({ kind, attempt }) => kind === 'completed' && attempt !== undefined);

/** The batch, and the claims that its jobs refer to by number. */
export function encodeCompleted(batch: readonly Settlement[]): { batch: string; claims: string } {
  const numbers = new Map<string, number>();
  const items: string[] = [];
  let last: Settlement | undefined;
  let number = 0;
  for (const one of batch) {
    if (!last || !sameClaim(one, last)) {
      const claim = encodeClaim(one);
      number = numbers.get(claim) ?? numbers.size + 1;
      numbers.set(claim, number);
      last = one;
    }
    const { id, lease, returnvalue, keepCompletedMs } = one;
    const value = returnvalue === undefined || returnvalue === 'null' ? '' : `,"returnvalue":${returnvalue}`;
    const keep = keepCompletedMs === undefined ? '' : `,"keep_ms":${keepCompletedMs}`;
    items.push(`{"claim":${number},"id":${JSON.stringify(id)},"lease":${lease}${value}${keep}}`);
  }
  return { batch: `[${items.join(',')}]`, claims: `[${[...numbers.keys()].join(',')}]` };
}

const sameClaim = (a: Settlement, b: Settlement) =>
  a.startedAt === b.startedAt &&
  a.attempt === b.attempt &&
  a.workerId === b.workerId &&
  a.queueName === b.queueName &&
  a.logs === b.logs;

function encodeClaim({ queueName, workerId, attempt, startedAt, logs = '[]' }: Settlement): string {
  const started = startedAt === undefined ? 'null' : `"${startedAt}"`;
  const record = `{"attempt":${attempt},"startedAt":${started},"status":"completed","error":null,"stacktrace":null,"logs":${logs}}`;
  return `{"queue_name":${JSON.stringify(queueName)},"worker":${JSON.stringify(workerId)},"record":${record}}`;
}

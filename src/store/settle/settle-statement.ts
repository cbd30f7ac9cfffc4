import { type SQL, sql } from 'drizzle-orm';
import { cte } from '../../db/cte.js';
import { type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { instantOf, interval, now } from '../../db/time.js';
import { appended, attemptRecord, withCompletion, withStack } from '../rules/attempt-record.js';
import { heldBy } from '../rules/lease.js';
import { outcomeOf } from '../rules/outcomes.js';
import { cancelledReason } from '../rules/reasons.js';
import { deletedAtOnce, expiresAt } from '../rules/retention.js';
import { SETTLE_AXES, type SettleShape, settleName, settleTail, withLockTimeout } from './fragments.js';
import { SETTLEMENT_COLUMNS } from './settlement.js';

const ENDING = ['kind', 'returnvalue', 'reason', 'stack', 'delayMs', 'untilMs', 'startedAt', 'logs'] as const;
const KEEP = ['keepCompletedMs', 'keepFailedMs'] as const;
const input = cte('input', ['queueName', 'id', 'lease', 'worker', ...ENDING, ...KEEP, 'position', 'active']);
const locked = cte('locked', [...ENDING, ...KEEP, 'position', 'place', 'cancelled', 'discarded']);
const decided = cte('decided', [...ENDING, 'position', 'place', 'cancelled', 'attempted', 'newState', 'keepMs']);

/**
 * Ends a batch of leases, whatever each of them ends in, and all that follows from it, as a pipeline of facts: the
 * input; the rows that are still held, locked in the order of their keys; what each becomes, decided on its newest
 * version, so that a cancellation that came in meanwhile wins; the changed and the deleted rows. Fenced by lease and
 * worker: a row that is not answered was no longer this worker's.
 */
export const settleStatement: (shape: SettleShape) => Statement<'batch' | 'shard' | 'lockTimeout'> = variants(
  SETTLE_AXES,
  (shape, declare) =>
    declare(
      settleName('settle', SETTLE_AXES, shape),
      ['batch', 'shard', 'lockTimeout'],
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const { place, keepMs, position, cancelled, newState, reason, returnvalue } = decided;
        const expires = sql`${keepMs} is not null`;
        const outcome = sql`${outcomeOf(j, { state: newState, reason, returnvalue, expires })}, ${position}, ${cancelled}`;
        return sql`
          with ${input.as(sql`
            select *, 'active' from rows from (jsonb_to_recordset(${p.batch}::jsonb) as (${sql.raw(SETTLEMENT_COLUMNS)}))
              with ordinality where ${withLockTimeout(p.lockTimeout)}`)},
          ${locked.as(sql`
            select ${pick(input, [...ENDING, ...KEEP, 'position'])}, ${j}.ctid, ${j.cancelledAt} is not null, ${j.discarded}
            from ${input.table} join ${db.jobs} as ${j} on ${j.queueName} = ${input.queueName} and ${j.id} = ${input.id}
            where ${heldBy(j, input.lease, input.worker, input.active)}
            order by ${j.queueName}, ${j.id} for update of j`)},
          ${decided.as(decisions())},
          settled as (
            update ${db.jobs} as ${j} set ${changes(db, j)} from ${decided.table}
            where ${j}.ctid = ${place}${shape.removal ? sql` and not ${deletedAtOnce(keepMs)}` : sql``}
            returning ${outcome}, false),
          ${
            shape.removal
              ? sql`deleted as (
            delete from ${db.jobs} as ${j} using ${decided.table} where ${j}.ctid = ${place} and ${deletedAtOnce(keepMs)}
            returning ${outcome}, true),`
              : sql``
          }
          ${settleTail(db, shape, p.shard)}`;
      },
      // Fenced against itself: what it settled once is no longer active under that lease.
      { repeatable: true },
    ),
);

const pick = <C extends string>(of: Readonly<Record<C, SQL>>, names: readonly C[]): SQL =>
  sql.join(
    names.map((name) => of[name]),
    sql`, `,
  );

/** The one place that decides what a settlement makes of a job. */
function decisions(): SQL {
  const { kind, delayMs, cancelled, discarded } = locked;
  const newState = sql`case
    when ${cancelled} then 'failed'
    when ${kind} = 'completed' then 'completed'
    when ${kind} = 'released' then 'waiting'
    when ${kind} = 'delayed' then 'delayed'
    when ${kind} = 'retry' and not ${discarded} then case when ${delayMs} > 0 then 'delayed' else 'waiting' end
    else 'failed' end`;
  const ending = ENDING.map((name) =>
    name === 'reason' ? sql`case when ${cancelled} then ${cancelledReason} else ${locked.reason} end` : locked[name],
  );
  const { keepCompletedMs, keepFailedMs } = locked;
  const attempted = sql`${kind} in ('completed', 'failed', 'retry')`;
  return sql`
    select ${sql.join(ending, sql`, `)}, ${locked.position}, ${locked.place}, ${cancelled}, ${attempted}, new_state,
      case new_state when 'completed' then ${keepCompletedMs} when 'failed' then ${keepFailedMs} end
    from ${locked.table} cross join lateral (select ${newState} as new_state) becomes`;
}

/** The assignments of a settled row `j`, from its `decided` facts. */
function changes(db: Tables, j: Jobs): SQL {
  const col = bare(db.jobs);
  const {
    kind,
    newState,
    attempted,
    cancelled,
    reason,
    returnvalue,
    stack,
    delayMs,
    untilMs,
    startedAt,
    logs,
    keepMs,
  } = decided;
  // As a sub-select it is computed once, not for each row.
  const at = sql`(select ${now})`;
  const completed = sql`${newState} = 'completed'`;
  const failedStack = sql`(case when ${attempted} and not ${completed} then coalesce(${stack}, ${reason}) end)`;
  const record = attemptRecord({
    attempt: sql`${j.attemptsMade} + 1`,
    startedAt,
    completed: sql`false`,
    error: reason,
    stack,
    logs,
  });
  return sql`
    ${col.state} = ${newState}, ${col.lockUntil} = null, ${col.lockedBy} = null,
    ${col.seq} = case when ${kind} in ('retry', 'delayed') then ${db.nextSeq} else ${j.seq} end,
    ${col.attemptsMade} = ${j.attemptsMade} + case when ${attempted} and not ${completed} then 1 else 0 end,
    ${col.returnvalue} = case when ${completed} then ${returnvalue} else ${j.returnvalue} end,
    ${col.completedAt} = case when ${completed} then ${at} else ${j.completedAt} end,
    ${col.failedAt} = case when ${newState} = 'failed' then ${at} else ${j.failedAt} end,
    ${col.failedReason} = case when ${completed} then null
      when ${kind} in ('failed', 'retry') or ${cancelled} then ${reason} else ${j.failedReason} end,
    ${col.stacktrace} = ${withStack(j.stacktrace, failedStack)},
    ${col.attemptLogs} = case when ${completed} then ${withCompletion(j, logs)}
      when ${attempted} then ${appended(j.attemptLogs, record)} else ${j.attemptLogs} end,
    ${col.delayUntil} = case when ${newState} = 'delayed'
      then coalesce(${instantOf(untilMs)}, ${at} + ${interval(delayMs)}) end,
    ${col.stalledCount} = case when ${kind} in ('retry', 'delayed') then 0 else ${j.stalledCount} end,
    ${col.processedAt} = case when ${kind} = 'released' then null else ${j.processedAt} end,
    ${col.removeAt} = ${expiresAt(keepMs)}`;
}

import { type SQL, sql } from 'drizzle-orm';
import { arrayText, sparseArrayText } from '../../db/arrays.js';
import { cte } from '../../db/cte.js';
import { columns, OPTIONAL, type Statement, variants } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { now } from '../../db/time.js';
import { withCompletion } from '../rules/attempt-record.js';
import { heldBy } from '../rules/lease.js';
import { outcomeOf } from '../rules/outcomes.js';
import { deletedAtOnce, expiresAt } from '../rules/retention.js';
import { ofTransaction, SETTLE_AXES, type SettleShape, settleName, settleTail, withLockTimeout } from './fragments.js';
import type { Settlement } from './settlement.js';

export interface CompleteShape extends SettleShape {
  /** The jobs are of several queues or workers: both travel with each job, and not once for all. */
  readonly mixed: boolean;
}

const AXES = { mixed: OPTIONAL, ...SETTLE_AXES } as const;
const BATCH = ['queues', 'ids', 'leases', 'workers', 'places', 'results', 'keeps', 'logs'] as const;
const PARAMS = ['queue', 'worker', ...BATCH, 'shard', 'lockTimeout'] as const;
type Param = (typeof PARAMS)[number];

const GIVEN = ['position', 'queueName', 'id', 'lease', 'worker', 'returnvalue', 'keepMs', 'logs'] as const;
const input = cte('input', [...GIVEN, 'place', 'active']);

/**
 * Nothing but completions, the most frequent end: all that there is to decide is known when the statement is planned.
 * A job that is cancelled is passed over; the general statement then ends it.
 *
 * A row is found by the place where the claim left it, and no index is read: or by its key where the place is not given.
 * Its fence is checked there as everywhere. A row that has moved since is not found, and neither is one that somebody
 * changes while this statement waits for it: `settle` then looks for it by its key.
 *
 * Rows are updated without being locked first, which would cost a fifth of the statement. No two batches can deadlock:
 * the fence gives each row to one worker, and a store settles one batch after the other. Rows are updated in the order of
 * their keys, as in every statement that locks several.
 */
export const completeStatement: (shape: CompleteShape) => Statement<Param> = variants(AXES, (shape, declare) =>
  declare(
    settleName('complete', AXES, shape),
    PARAMS,
    (db, p) => {
      const j = alias(db.jobs, 'j');
      const { keepMs } = input;
      const queue = shape.mixed ? input.queueName : p.queue;
      const worker = shape.mixed ? input.worker : p.worker;
      // The key as a CASE: a plan that was made while the table was small would read its index for each row.
      const isIt = sql`(case when ${j.id} = ${input.id} and ${j.queueName} = ${queue} then true else false end)`;
      const held = sql`${j}.ctid = ${input.place} and ${isIt}
        and ${heldBy(j, input.lease, worker, input.active)} and ${j.cancelledAt} is null`;
      return sql`
        with ${input.as(given(db, p, shape))},
        settled as (
          update ${db.jobs} as ${j} set ${completion(db)}
          from ${input.table} where ${held}${shape.removal ? sql` and not ${deletedAtOnce(keepMs)}` : sql``}
          returning ${answered(db, shape, false)})
        ${
          shape.removal
            ? sql`, deleted as (
          delete from ${db.jobs} as ${j} using ${input.table} where ${held} and ${deletedAtOnce(keepMs)}
          returning ${answered(db, shape, true)})`
            : sql``
        }
        ${tail(db, p, shape)}`;
    },
    // Fenced against itself: what it completed once is no longer active under that lease.
    { repeatable: true },
  ),
);

/** The batch as rows, each with its place. */
function given(db: Tables, p: Record<Param, SQL>, { mixed }: CompleteShape): SQL {
  const k = alias(db.jobs, 'k');
  const queue = mixed ? sql`i.queue_name` : p.queue;
  const byKey = sql`(select ${k}.ctid from ${db.jobs} as ${k} where ${k.queueName} = ${queue} and ${k.id} = i.id)`;
  const queues = mixed ? sql`unnest(${p.queues}::text[]), unnest(${p.workers}::text[]), ` : sql``;
  const names = mixed ? sql`queue_name, worker, ` : sql``;
  return sql`
    select i.position, ${mixed ? sql`i.queue_name` : sql`null`}, i.id, i.lease, ${mixed ? sql`i.worker` : sql`null`},
      (i.returnvalue)::jsonb, i.keep_ms, (i.logs)::jsonb, coalesce(i.place, ${byKey}), 'active'
    from rows from (${queues}unnest(${p.ids}::text[]), unnest(${p.leases}::int[]), unnest(${p.places}::tid[]),
        unnest(${p.results}::text[]), unnest(${p.keeps}::float8[]), unnest(${p.logs}::text[]))
      with ordinality as i(${names}id, lease, place, returnvalue, keep_ms, logs, position)
    where ${withLockTimeout(p.lockTimeout)}
    order by ${mixed ? sql`i.queue_name, ` : sql``}i.id`;
}

/** The assignments of a completed row `j`. */
function completion(db: Tables): SQL {
  const j = alias(db.jobs, 'j');
  const col = bare(db.jobs);
  // As a sub-select it is computed once, not for each row.
  const at = sql`(select ${now})`;
  return sql`
    ${col.state} = 'completed', ${col.lockUntil} = null, ${col.lockedBy} = null, ${col.delayUntil} = null,
    ${col.returnvalue} = ${input.returnvalue}, ${col.completedAt} = ${at}, ${col.failedReason} = null,
    ${col.attemptLogs} = ${withCompletion(j, input.logs)}, ${col.removeAt} = ${expiresAt(input.keepMs)}`;
}

/** Whether anything follows from an outcome but the answer itself. */
const hasConsequences = ({ flows, metrics }: CompleteShape) => flows || metrics;

/** What the rest of the statement needs to know of a completed row. */
function answered(db: Tables, shape: CompleteShape, removed: boolean): SQL {
  const { position, returnvalue, keepMs } = input;
  if (!hasConsequences(shape)) return position;
  const outcome = outcomeOf(alias(db.jobs, 'j'), {
    state: sql`'completed'`,
    reason: sql`null::text`,
    returnvalue,
    expires: sql`${keepMs} is not null`,
  });
  return sql`${outcome}, ${position}, false, ${sql.raw(String(removed))}`;
}

/** The answer, in the form that `settleTail` gives it. */
function tail(db: Tables, p: Record<Param, SQL>, shape: CompleteShape): SQL {
  if (hasConsequences(shape)) return sql`, ${settleTail(db, shape, p.shard)}`;
  const none = sql`null`;
  const positions = (of: 'settled' | 'deleted') => {
    const answer = columns(
      sql`string_agg(position::text, ',')`,
      sql`'completed'`,
      sql`false`,
      sql.raw(String(of === 'deleted')),
      ofTransaction(shape),
      none,
      none,
      none,
    );
    return sql`select ${answer} from ${sql.identifier(of)} having count(*) > 0`;
  };
  return shape.removal ? sql`${positions('settled')} union all ${positions('deleted')}` : positions('settled');
}

/** Nothing but completions. */
export const allCompleted = (batch: readonly Settlement[]) => batch.every(({ kind }) => kind === 'completed');

/** The jobs are of several queues or workers. */
export const isMixed = (batch: readonly Settlement[]) =>
  batch.some(({ queueName, workerId }) => queueName !== batch[0]?.queueName || workerId !== batch[0]?.workerId);

/**
 * The batch as parallel arrays. What few jobs have is an empty array where none has it.
 *
 * @param mixed see `isMixed`
 * @param byKey to look for all rows by their keys, wherever they are said to be
 */
export function encodeCompleted(batch: readonly Settlement[], mixed: boolean, byKey: boolean) {
  return {
    queue: mixed ? null : (batch[0]?.queueName ?? null),
    worker: mixed ? null : (batch[0]?.workerId ?? null),
    queues: mixed ? arrayText(batch.map(({ queueName }) => queueName)) : null,
    workers: mixed ? arrayText(batch.map(({ workerId }) => workerId)) : null,
    ids: arrayText(batch.map(({ id }) => id)),
    leases: arrayText(batch.map(({ lease }) => lease)),
    places: byKey ? '{}' : sparseArrayText(batch.map(({ place }) => place)),
    results: sparseArrayText(batch.map(({ returnvalue }) => (returnvalue === 'null' ? undefined : returnvalue))),
    keeps: sparseArrayText(batch.map(({ keepCompletedMs }) => keepCompletedMs)),
    logs: sparseArrayText(batch.map(({ logs }) => logs)),
  };
}

import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import type { Relations } from '../db/relation.js';
import { columns, instantOf, interval, now, type Statement, statement } from '../db/statement.js';
import type { JobState } from '../model/job.js';
import { cascade } from './cascade.js';
import { countMetrics } from './metrics.js';

/** How a worker ends its hold on a job. */
export type SettleKind =
  | 'completed'
  /** No attempt is left, or none is wanted. */
  | 'failed'
  /** The attempt failed and another follows, after `delayMs`. */
  | 'retry'
  /** Put off by the handler; the attempt does not count. */
  | 'delayed'
  /** Given back unharmed: it never started, or the worker closes. */
  | 'released';

export interface Settlement {
  readonly queueName: string;
  readonly id: string;
  readonly lease: number;
  readonly workerId: string;
  readonly kind: SettleKind;
  /** JSON text. */
  readonly result?: string | undefined;
  readonly reason?: string | undefined;
  readonly stack?: string | null | undefined;
  readonly delayMs?: number | undefined;
  /** For `delayed`: epoch ms. */
  readonly until?: number | undefined;
  /** ISO 8601; when the attempt began. */
  readonly startedAt?: string | undefined;
  /** JSON text of the lines logged during the attempt. */
  readonly logs?: string | undefined;
  /** Once completed: deleted after so many ms, 0 at once, undefined never. Likewise once failed. */
  readonly removeCompletedAfter?: number | undefined;
  readonly removeFailedAfter?: number | undefined;
  readonly hasParent: boolean;
}

export interface Settled {
  readonly queueName: string;
  readonly id: string;
  /** What the job became; it may differ from what was asked: a cancelled job ends failed. */
  readonly state: JobState;
  readonly cancelled: boolean;
  readonly removed: boolean;
}

/** Under which of its leases: two workers of one store may settle the same job in one batch. */
export interface SettledHold extends Settled {
  readonly lease: number;
}

/** An ancestor that changed with its children. */
export interface ParentChange {
  readonly queueName: string;
  readonly id: string;
  readonly state: JobState | 'removed';
  readonly reason: string | null;
}

/** Newest attempt records and stack traces that a job keeps: each settlement rewrites them, each claim reads them. */
export const MAX_ATTEMPT_RECORDS = 100;

/**
 * ms that a batch waits for a row that somebody has locked: longer than it takes the server to see a deadlock. One job
 * whose parent or key is in an open transaction of the app's must not hold up all the others.
 */
const BATCH_LOCK_MS = 2_000;

export const CANCELLED_REASON = 'Job was cancelled';

type JobNames = ReturnType<Relations['jobs']['of']>;

/** What a job becomes, by the row's newest version: a cancellation that came in meanwhile wins. */
function becomes(j: JobNames): SQL {
  return sql`(case when ${j.cancelledAt} is not null then 'failed'
    when i.kind = 'completed' then 'completed'
    when i.kind = 'released' then 'waiting'
    when i.kind = 'delayed' then 'delayed'
    when i.kind = 'retry' and not ${j.discarded} then case when i.delay > 0 then 'delayed' else 'waiting' end
    else 'failed' end)`;
}

/** With room for one more. */
function newest(list: SQL): SQL {
  return sql`(case jsonb_typeof(${list}) when 'array'
    then case when jsonb_array_length(${list}) >= ${MAX_ATTEMPT_RECORDS} then ${list} - 0 else ${list} end
    else '[]'::jsonb end)`;
}

/** How long the ended job is kept, in ms; null: for good, or it has not ended. */
function keptFor(j: JobNames): SQL {
  return sql`(case ${becomes(j)} when 'completed' then i.rc when 'failed' then i.rf end)`;
}

interface Shape {
  flows: boolean;
  metrics: boolean;
  removal: boolean;
}

/**
 * Ends a batch of holds, whatever each of them ends in, and all that follows from it. Fenced by lease and worker: a
 * row that is not answered was not this worker's any more. (The worker's id counts too because a claim does not wait
 * for the disk: after a crash of the server somebody else may hold the same lease number.) The state is compared with
 * a column, not with a literal: else the index of active jobs would do, and answer with all of them.
 */
function settleStatement({ flows, metrics, removal }: Shape): Statement<'batch' | 'shard' | 'patience'> {
  return statement(
    `settle${flows ? ' flows' : ''}${metrics ? ' metrics' : ''}${removal ? ' removal' : ''}`,
    ['batch', 'shard', 'patience'],
    (db, p) => {
      const j = db.jobs.of('j');
      const { col } = db.jobs;
      const held = sql`${j.queueName} = i.q and ${j.id} = i.id and ${j.lease} = i.lease
        and ${j.lockedBy} = i.worker and ${j.state} = i.held`;
      const removedNow = sql`coalesce(${keptFor(j)} = 0, false)`;
      const attempted = sql`i.kind in ('completed', 'failed', 'retry')`;
      const failed = sql`i.kind in ('failed', 'retry')`;
      const reason = sql`case when ${j.cancelledAt} is not null then ${CANCELLED_REASON} else i.reason end`;
      const iso = (time: SQL) => sql`to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
      const outcome = (state: SQL) => sql`${j.queueName} as q, ${j.id} as id, ${state} as state, ${j.name} as name,
        ${j.lease} as lease,
        ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id, ${j.processedAt} as processed,
        i.ret as value, ${j.cancelledAt} is not null as cancelled, ${reason} as reason`;
      return sql`
        with i as materialized (
          select *, 'active' as held
          from jsonb_to_recordset(${p.batch}::jsonb) as x(q text, id text, lease int, worker text, kind text,
            ret jsonb, reason text, stack text, delay float8, until float8, started text, logs jsonb, rc float8,
            rf float8)
          where case when ${p.patience} is null then true
            else set_config('lock_timeout', ${p.patience}, true) is not null end
          order by q, id),
        settled as (
          update ${db.jobs.as('j')} set
            ${col.state} = ${becomes(j)},
            ${col.lockUntil} = null, ${col.lockedBy} = null,
            ${col.seq} = case when i.kind in ('retry', 'delayed') then ${db.nextSeq} else ${j.seq} end,
            ${col.attemptsMade} = ${j.attemptsMade}
              + case when ${attempted} and ${becomes(j)} <> 'completed' then 1 else 0 end,
            ${col.returnvalue} = case when ${becomes(j)} = 'completed' then i.ret else ${j.returnvalue} end,
            ${col.completedAt} = case when ${becomes(j)} = 'completed' then ${now} else ${j.completedAt} end,
            ${col.failedAt} = case when ${becomes(j)} = 'failed' then ${now} else ${j.failedAt} end,
            ${col.failedReason} = case when ${becomes(j)} = 'completed' then null
              when ${failed} or ${j.cancelledAt} is not null then ${reason} else ${j.failedReason} end,
            ${col.stacktrace} = case when i.stack is null then ${j.stacktrace}
              else ${newest(j.stacktrace)} || to_jsonb(i.stack) end,
            ${col.attemptLogs} = case when ${attempted} then ${newest(j.attemptLogs)} || jsonb_build_object(
                'attempt', ${j.attemptsMade} + 1, 'startedAt', i.started, 'endedAt', ${iso(now)},
                'status', case when ${becomes(j)} = 'completed' then 'completed' else 'failed' end,
                'error', case when ${becomes(j)} = 'completed' then null else ${reason} end,
                'stacktrace', i.stack, 'logs', coalesce(i.logs, '[]'::jsonb))
              else ${j.attemptLogs} end,
            ${col.delayUntil} = case when ${becomes(j)} = 'delayed'
              then coalesce(${instantOf(sql`i.until`)}, ${now} + ${interval(sql`i.delay`)}) end,
            ${col.processedAt} = case when i.kind = 'released' then null else ${j.processedAt} end,
            ${col.removeAt} = ${now} + ${interval(keptFor(j))}
          from i where ${held}${removal ? sql` and not ${removedNow}` : sql``}
          returning ${outcome(j.state)}, false as removed, ${j.removeAt} is not null as fleeting)
        ${
          removal
            ? sql`, gone as (
          delete from ${db.jobs.as('j')} using i where ${held} and ${removedNow}
          returning ${outcome(becomes(j))}, true as removed, true as fleeting)`
            : sql``
        }
        , outcomes as materialized (select * from settled${removal ? sql` union all select * from gone` : sql``})
        ${
          flows
            ? sql`, ended as materialized (
          select q, id, parent_q, parent_id, state = 'failed' as failed, reason, value, fleeting as removed
          from outcomes where state in ('completed', 'failed') and parent_id is not null),
        ${cascade(db)}`
            : sql``
        }
        ${metrics ? sql`, ${countMetrics(db, p.shard)}` : sql``}
        select ${columns(sql`q`, sql`id`, sql`state`, sql`cancelled`, sql`removed`, sql`lease`, sql`null`)} from outcomes
        ${
          flows
            ? sql`union all
        select q, id, state, 'false', 'false', null, reason from parents`
            : sql``
        }`;
    },
    // Fenced against itself: what it settled once is no longer active under that lease.
    { repeatable: true },
  );
}

const shapes = new Map<string, Statement<'batch' | 'shard' | 'patience'>>();

function shape(wanted: Shape): Statement<'batch' | 'shard' | 'patience'> {
  const key = `${wanted.flows}${wanted.metrics}${wanted.removal}`;
  let found = shapes.get(key);
  if (!found) {
    found = settleStatement(wanted);
    shapes.set(key, found);
  }
  return found;
}

function encode(s: Settlement): string {
  const fields: (string | false)[] = [
    `"q":${JSON.stringify(s.queueName)},"id":${JSON.stringify(s.id)},"lease":${s.lease}`,
    `"worker":${JSON.stringify(s.workerId)},"kind":"${s.kind}"`,
    s.result !== undefined && `"ret":${s.result}`,
    s.reason !== undefined && `"reason":${JSON.stringify(s.reason)}`,
    s.stack != null && `"stack":${JSON.stringify(s.stack)}`,
    s.delayMs !== undefined && `"delay":${s.delayMs}`,
    s.until !== undefined && `"until":${s.until}`,
    s.startedAt !== undefined && `"started":"${s.startedAt}"`,
    s.logs !== undefined && `"logs":${s.logs}`,
    s.removeCompletedAfter !== undefined && `"rc":${s.removeCompletedAfter}`,
    s.removeFailedAfter !== undefined && `"rf":${s.removeFailedAfter}`,
  ];
  return `{${fields.filter(Boolean).join(',')}}`;
}

export interface SettleResult {
  readonly settled: SettledHold[];
  readonly parents: ParentChange[];
}

/** Settles a batch. A settlement that is not among the answers had lost its lease, and changed nothing. */
export async function settle(
  executor: Executor,
  batch: readonly Settlement[],
  options: { metrics: boolean; shard: number; patient?: boolean },
): Promise<SettleResult> {
  const wanted = {
    flows: batch.some((s) => s.hasParent),
    metrics: options.metrics,
    removal: batch.some((s) => s.removeCompletedAfter === 0 || s.removeFailedAfter === 0),
  };
  const rows = await executor.run(shape(wanted), {
    batch: `[${batch.map(encode).join(',')}]`,
    shard: options.shard,
    patience: options.patient ? null : BATCH_LOCK_MS,
  });
  const settled: SettledHold[] = [];
  const parents: ParentChange[] = [];
  for (const [queueName, id, state, cancelled, removed, lease, reason] of rows as (string | null)[][]) {
    const key = { queueName: queueName as string, id: id as string };
    if (lease == null) {
      parents.push({ ...key, state: state as ParentChange['state'], reason: reason ?? null });
    } else {
      settled.push({
        ...key,
        lease: Number(lease),
        state: state as JobState,
        cancelled: cancelled === 'true',
        removed: removed === 'true',
      });
    }
  }
  return { settled, parents };
}

const selectSettled = statement(
  'settled already',
  ['batch'],
  (db, p) => {
    const j = db.jobs.of('j');
    const asAsked = sql`(case i.kind when 'completed' then ${j.state} = 'completed'
      when 'failed' then ${j.state} = 'failed' and ${j.failedReason} = i.reason
      else ${j.state} in ('waiting', 'delayed') end)`;
    return sql`select ${columns(j.queueName, j.id, j.state, sql`${j.cancelledAt} is not null`, j.lease)}
      from jsonb_to_recordset(${p.batch}::jsonb) as i(q text, id text, lease int, kind text, reason text)
      join ${db.jobs.as('j')} on ${j.queueName} = i.q and ${j.id} = i.id and ${j.lease} = i.lease
      where ${j.state} <> 'active' and (${j.cancelledAt} is not null or ${asAsked})`;
  },
  { repeatable: true },
);

/**
 * Those of a batch that have ended under the very lease they name: a settlement whose answer was lost with its
 * connection has taken effect, and is not found active when it is sent again.
 */
export async function settledAlready(executor: Executor, batch: readonly Settlement[]): Promise<SettledHold[]> {
  const rows = await executor.run(selectSettled, { batch: `[${batch.map(encode).join(',')}]` });
  return (rows as string[][]).map(([queueName, id, state, cancelled, lease]) => ({
    lease: Number(lease),
    queueName: queueName as string,
    id: id as string,
    state: state as JobState,
    cancelled: cancelled === 'true',
    removed: false,
  }));
}

import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { columns, type Statement, statement } from '../../db/statement.js';
import { alias, bare, literal } from '../../db/tables.js';
import { instantOf, interval, now } from '../../db/time.js';
import { cascade } from '../rules/cascade.js';
import { countMetrics } from '../rules/metrics-buckets.js';
import { cancelledReason } from '../rules/reasons.js';

/** Newest attempt records and stack traces that a job keeps: each settlement rewrites them, each claim reads them. */
export const MAX_ATTEMPT_RECORDS = 100;

/** With room for one more. */
function newest(list: SQLWrapper): SQL {
  return sql`(case jsonb_typeof(${list}) when 'array'
    then case when jsonb_array_length(${list}) >= ${literal(MAX_ATTEMPT_RECORDS)} then ${list} - 0 else ${list} end
    else '[]'::jsonb end)`;
}

export interface SettleShape {
  /** Nothing but completions: nearly all there is to decide is known when the statement is planned. */
  completed: boolean;
  flows: boolean;
  metrics: boolean;
  removal: boolean;
  /** Says which transaction it runs in, so that whether that has committed can be asked later. */
  returnXid: boolean;
}

type Params = 'batch' | 'holders' | 'shard' | 'patience';

/** As it stands in attempt records. */
const isoNow = sql`to_char(${now} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/**
 * The CTE `i` of what is asked, with its place in the batch as `n`; in the order of the keys, as rows are locked
 * everywhere.
 */
function asked(p: Record<Params, SQL>, { completed }: SettleShape): SQL {
  const waits = sql`case when ${p.patience} is null then true
    else set_config('lock_timeout', ${p.patience}, true) is not null end`;
  if (!completed) {
    return sql`i as materialized (
      select x.*, 'active' as held
      from rows from (jsonb_to_recordset(${p.batch}::jsonb) as (q text, id text, lease int, worker text, kind text,
        ret jsonb, reason text, stack text, delay float8, until float8, started text, logs jsonb, rc float8, rf float8))
        with ordinality as x(q, id, lease, worker, kind, ret, reason, stack, delay, until, started, logs, rc, rf, n)
      where ${waits} order by q, id)`;
  }
  return sql`h as materialized (
    select k, q, worker, jsonb_build_array(record || jsonb_build_object('endedAt', ${isoNow})) as records
    from rows from (jsonb_to_recordset(${p.holders}::jsonb) as (q text, worker text, record jsonb))
      with ordinality as x(q, worker, record, k)),
  i as materialized (
    select h.q, x.id, x.lease, h.worker, x.ret, h.records, x.rc, x.n, 'active' as held, null::text as reason,
      null::text as stack, null::float8 as delay, null::float8 as until, null::float8 as rf
    from rows from (jsonb_to_recordset(${p.batch}::jsonb) as (h int, id text, lease int, ret jsonb, rc float8))
      with ordinality as x(h, id, lease, ret, rc, n)
    join h on h.k = x.h where ${waits} order by h.q, x.id)`;
}

/**
 * Ends a batch of holds, whatever each of them ends in, and all that follows from it. Fenced by lease and worker: a
 * row that is not answered was not this worker's any more. (The worker's id counts too because a claim does not wait
 * for the disk: after a crash of the server somebody else may hold the same lease number.) The state is compared with
 * a column, not with a literal: else the index of active jobs would do, and answer with all of them.
 *
 * What a job becomes is decided by its row's newest version: a cancellation that came in meanwhile wins. (Among nothing
 * but completions it is left alone, and not answered.) A batch of completions says once for all those that one worker
 * claimed together who holds them, and what the record of their attempt is. The answer has a row for each way of
 * ending, with the places in the batch of those that ended so.
 */
function build(shape: SettleShape): Statement<Params> {
  const { completed, flows, metrics, removal, returnXid } = shape;
  return statement(
    `settle${completed ? ' completed' : ''}${flows ? ' flows' : ''}${metrics ? ' metrics' : ''}${removal ? ' removal' : ''}${returnXid ? ' returnXid' : ''}`,
    ['batch', 'holders', 'shard', 'patience'],
    (db, p) => {
      const j = alias(db.jobs, 'j');
      const col = bare(db.jobs);
      const kind = completed ? sql`'completed'` : sql`i.kind`;
      const becomes = completed
        ? sql`'completed'`
        : sql`(case when ${j.cancelledAt} is not null then 'failed'
            when ${kind} = 'completed' then 'completed'
            when ${kind} = 'released' then 'waiting'
            when ${kind} = 'delayed' then 'delayed'
            when ${kind} = 'retry' and not ${j.discarded} then case when i.delay > 0 then 'delayed' else 'waiting' end
            else 'failed' end)`;
      const held = sql`${j.queueName} = i.q and ${j.id} = i.id and ${j.lease} = i.lease
        and ${j.lockedBy} = i.worker and ${j.state} = i.held${completed ? sql` and ${j.cancelledAt} is null` : sql``}`;
      // In ms; null: for good, or it has not ended.
      const keptFor = sql`(case ${becomes} when 'completed' then i.rc when 'failed' then i.rf end)`;
      const removedNow = sql`coalesce(${keptFor} = 0, false)`;
      const attempted = sql`${kind} in ('completed', 'failed', 'retry')`;
      const failed = sql`${kind} in ('failed', 'retry')`;
      const reason = sql`case when ${j.cancelledAt} is not null then ${cancelledReason} else i.reason end`;
      // As sub-selects they are computed once, not for each row.
      const at = sql`(select ${now})`;
      const withRecords = sql`case when ${j.attemptLogs} = '[]'::jsonb then i.records
        else ${newest(j.attemptLogs)} || i.records end`;
      const withRecord = sql`case when ${attempted} then ${newest(j.attemptLogs)} || jsonb_build_object(
          'attempt', ${j.attemptsMade} + 1, 'startedAt', i.started, 'endedAt', (select ${isoNow}),
          'status', case when ${becomes} = 'completed' then 'completed' else 'failed' end,
          'error', case when ${becomes} = 'completed' then null else ${reason} end,
          'stacktrace', i.stack, 'logs', coalesce(i.logs, '[]'::jsonb))
        else ${j.attemptLogs} end`;
      const outcome = (
        state: SQLWrapper,
      ) => sql`i.n, ${j.queueName} as q, ${j.id} as id, ${state} as state, ${j.name} as name,
        ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id, ${j.processedAt} as processed,
        i.ret as value, ${j.cancelledAt} is not null as cancelled, ${reason} as reason`;
      return sql`
        with ${asked(p, shape)},
        settled as (
          update ${db.jobs} as ${j} set
            ${col.state} = ${becomes},
            ${col.lockUntil} = null, ${col.lockedBy} = null,
            ${col.seq} = case when ${kind} in ('retry', 'delayed') then ${db.nextSeq} else ${j.seq} end,
            ${col.attemptsMade} = ${j.attemptsMade}
              + case when ${attempted} and ${becomes} <> 'completed' then 1 else 0 end,
            ${col.returnvalue} = case when ${becomes} = 'completed' then i.ret else ${j.returnvalue} end,
            ${col.completedAt} = case when ${becomes} = 'completed' then ${at} else ${j.completedAt} end,
            ${col.failedAt} = case when ${becomes} = 'failed' then ${at} else ${j.failedAt} end,
            ${col.failedReason} = case when ${becomes} = 'completed' then null
              when ${failed} or ${j.cancelledAt} is not null then ${reason} else ${j.failedReason} end,
            ${col.stacktrace} = case when i.stack is null then ${j.stacktrace}
              else ${newest(j.stacktrace)} || to_jsonb(i.stack) end,
            ${col.attemptLogs} = ${completed ? withRecords : withRecord},
            ${col.delayUntil} = case when ${becomes} = 'delayed'
              then coalesce(${instantOf(sql`i.until`)}, ${at} + ${interval(sql`i.delay`)}) end,
            ${col.processedAt} = case when ${kind} = 'released' then null else ${j.processedAt} end,
            ${col.removeAt} = case when ${keptFor} is not null then ${at} + ${interval(keptFor)} end
          from i where ${held}${removal ? sql` and not ${removedNow}` : sql``}
          returning ${outcome(j.state)}, false as removed, ${j.removeAt} is not null as fleeting)
        ${
          removal
            ? sql`, gone as (
          delete from ${db.jobs} as ${j} using i where ${held} and ${removedNow}
          returning ${outcome(becomes)}, true as removed, true as fleeting)`
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
        select ${columns(sql`string_agg(n::text, ',')`, sql`state`, sql`cancelled`, sql`removed`, returnXid ? sql`txid_current()` : sql`null`, sql`null`, sql`null`)}
        from outcomes group by state, cancelled, removed
        ${
          flows
            ? sql`union all
        select null, state, null, null, q, id, reason from parents`
            : sql``
        }`;
    },
    // Fenced against itself: what it settled once is no longer active under that lease.
    { repeatable: true },
  );
}

const shapes = new Map<string, Statement<Params>>();

/** Built once per shape, so that each is one prepared statement. */
export function settleStatement(wanted: SettleShape): Statement<Params> {
  const key = `${wanted.completed}${wanted.flows}${wanted.metrics}${wanted.removal}${wanted.returnXid}`;
  let found = shapes.get(key);
  if (!found) {
    found = build(wanted);
    shapes.set(key, found);
  }
  return found;
}

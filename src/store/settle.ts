import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
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
  /** Its number, the first is 1. */
  readonly attempt?: number | undefined;
  /** JSON text of the lines logged during the attempt. */
  readonly logs?: string | undefined;
  /** Once completed: deleted after so many ms, 0 at once, undefined never. Likewise once failed. */
  readonly removeCompletedAfter?: number | undefined;
  readonly removeFailedAfter?: number | undefined;
  readonly hasParent: boolean;
}

export interface Settled {
  /** What the job became; it may differ from what was asked: a cancelled job ends failed. */
  readonly state: JobState;
  readonly cancelled: boolean;
  readonly removed: boolean;
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

/** With room for one more. */
function newest(list: SQL): SQL {
  return sql`(case jsonb_typeof(${list}) when 'array'
    then case when jsonb_array_length(${list}) >= ${MAX_ATTEMPT_RECORDS} then ${list} - 0 else ${list} end
    else '[]'::jsonb end)`;
}

interface Shape {
  /** Nothing but completions: nearly all there is to decide is known when the statement is planned. */
  completed: boolean;
  flows: boolean;
  metrics: boolean;
  removal: boolean;
}

type Params = 'batch' | 'holders' | 'shard' | 'patience';

/** As it stands in attempt records. */
const isoNow = sql`to_char(${now} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/**
 * The CTE `i` of what is asked, with its place in the batch as `n`; in the order of the keys, as rows are locked
 * everywhere.
 */
function asked(p: Record<Params, SQL>, { completed }: Shape): SQL {
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
 * claimed together who holds them, and what the record of their attempt is. The answer has a row for each way of ending, with the places
 * in the batch of those that ended so.
 */
function settleStatement(shape: Shape): Statement<Params> {
  const { completed, flows, metrics, removal } = shape;
  return statement(
    `settle${completed ? ' completed' : ''}${flows ? ' flows' : ''}${metrics ? ' metrics' : ''}${removal ? ' removal' : ''}`,
    ['batch', 'holders', 'shard', 'patience'],
    (db, p) => {
      const j = db.jobs.of('j');
      const { col } = db.jobs;
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
      const reason = sql`case when ${j.cancelledAt} is not null then ${CANCELLED_REASON} else i.reason end`;
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
      const outcome = (state: SQL) => sql`i.n, ${j.queueName} as q, ${j.id} as id, ${state} as state, ${j.name} as name,
        ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id, ${j.processedAt} as processed,
        i.ret as value, ${j.cancelledAt} is not null as cancelled, ${reason} as reason`;
      return sql`
        with ${asked(p, shape)},
        settled as (
          update ${db.jobs.as('j')} set
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
          delete from ${db.jobs.as('j')} using i where ${held} and ${removedNow}
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
        select ${columns(sql`string_agg(n::text, ',')`, sql`state`, sql`cancelled`, sql`removed`, sql`null`, sql`null`, sql`null`)}
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

function shape(wanted: Shape): Statement<Params> {
  const key = `${wanted.completed}${wanted.flows}${wanted.metrics}${wanted.removal}`;
  let found = shapes.get(key);
  if (!found) {
    found = settleStatement(wanted);
    shapes.set(key, found);
  }
  return found;
}

function encode(s: Settlement): string {
  let text = `{"q":${JSON.stringify(s.queueName)},"id":${JSON.stringify(s.id)},"lease":${s.lease}`;
  text += `,"worker":${JSON.stringify(s.workerId)},"kind":"${s.kind}"`;
  if (s.result !== undefined) text += `,"ret":${s.result}`;
  if (s.reason !== undefined) text += `,"reason":${JSON.stringify(s.reason)}`;
  if (s.stack != null) text += `,"stack":${JSON.stringify(s.stack)}`;
  if (s.delayMs !== undefined) text += `,"delay":${s.delayMs}`;
  if (s.until !== undefined) text += `,"until":${s.until}`;
  if (s.startedAt !== undefined) text += `,"started":"${s.startedAt}"`;
  if (s.logs !== undefined) text += `,"logs":${s.logs}`;
  if (s.removeCompletedAfter !== undefined) text += `,"rc":${s.removeCompletedAfter}`;
  if (s.removeFailedAfter !== undefined) text += `,"rf":${s.removeFailedAfter}`;
  return `${text}}`;
}

/** Nothing but completions whose attempt is known by its number. */
const allCompleted = (batch: readonly Settlement[]) =>
  batch.every(({ kind, attempt }) => kind === 'completed' && attempt !== undefined);

function encodeCompleted(batch: readonly Settlement[]): { batch: string; holders: string } {
  const holders = new Map<string, number>();
  const items: string[] = [];
  for (const {
    queueName,
    workerId,
    id,
    lease,
    result,
    attempt,
    startedAt,
    logs = '[]',
    removeCompletedAfter,
  } of batch) {
    const started = startedAt === undefined ? 'null' : `"${startedAt}"`;
    const record = `{"attempt":${attempt},"startedAt":${started},"status":"completed","error":null,"stacktrace":null,"logs":${logs}}`;
    const holder = `{"q":${JSON.stringify(queueName)},"worker":${JSON.stringify(workerId)},"record":${record}}`;
    let place = holders.get(holder);
    if (place === undefined) {
      place = holders.size + 1;
      holders.set(holder, place);
    }
    const ret = result === undefined || result === 'null' ? '' : `,"ret":${result}`;
    const rc = removeCompletedAfter === undefined ? '' : `,"rc":${removeCompletedAfter}`;
    items.push(`{"h":${place},"id":${JSON.stringify(id)},"lease":${lease}${ret}${rc}}`);
  }
  return { batch: `[${items.join(',')}]`, holders: `[${[...holders.keys()].join(',')}]` };
}

export interface SettleOptions {
  readonly metrics: boolean;
  readonly shard: number;
  /** Waits for rows that somebody has locked. */
  readonly patient?: boolean;
}

export interface SettleResult {
  /** One for each settlement, in their order; undefined where the lease was lost: there nothing was changed. */
  readonly outcomes: (Settled | undefined)[];
  readonly parents: ParentChange[];
}

/** Settles a batch. */
export async function settle(
  executor: Executor,
  batch: readonly Settlement[],
  options: SettleOptions,
): Promise<SettleResult> {
  const outcomes = new Array<Settled | undefined>(batch.length).fill(undefined);
  const parents: ParentChange[] = [];
  await settleInto(executor, batch, allCompleted(batch), options, outcomes, parents);
  if (outcomes.includes(undefined)) {
    // Cancelled, or changed (discarded) while this ran so that it matched neither way of ending; or lost.
    await settleInto(executor, batch, false, options, outcomes, parents);
  }
  return { outcomes, parents };
}

/** Settles those of a batch that have no outcome yet. */
async function settleInto(
  executor: Executor,
  batch: readonly Settlement[],
  completed: boolean,
  { metrics, shard, patient }: SettleOptions,
  outcomes: (Settled | undefined)[],
  parents: ParentChange[],
): Promise<void> {
  const open = batch.flatMap((_, i) => (outcomes[i] ? [] : [i]));
  const asked = open.length === batch.length ? batch : open.map((i) => batch[i] as Settlement);
  const wanted = {
    completed,
    flows: asked.some((s) => s.hasParent),
    metrics,
    removal: asked.some((s) => s.removeCompletedAfter === 0 || s.removeFailedAfter === 0),
  };
  const rows = await executor.run(shape(wanted), {
    ...(completed ? encodeCompleted(asked) : { batch: `[${asked.map(encode).join(',')}]`, holders: null }),
    shard,
    patience: patient ? null : BATCH_LOCK_MS,
  });
  for (const [places, state, cancelled, removed, queueName, id, reason] of rows as (string | null)[][]) {
    if (places == null) {
      const parent = { queueName: queueName as string, id: id as string, reason: reason ?? null };
      parents.push({ ...parent, state: state as ParentChange['state'] });
      continue;
    }
    const settled = { state: state as JobState, cancelled: cancelled === 'true', removed: removed === 'true' };
    for (const place of places.split(',')) outcomes[open[Number(place) - 1] as number] = settled;
  }
}

const selectSettled = statement(
  'settled already',
  ['batch'],
  (db, p) => {
    const j = db.jobs.of('j');
    const asAsked = sql`(case i.kind when 'completed' then ${j.state} = 'completed'
      when 'failed' then ${j.state} = 'failed' and ${j.failedReason} = i.reason
      else ${j.state} in ('waiting', 'delayed') end)`;
    return sql`select ${columns(sql`i.n`, j.state, sql`${j.cancelledAt} is not null`)}
      from rows from (jsonb_to_recordset(${p.batch}::jsonb) as (q text, id text, lease int, kind text, reason text))
        with ordinality as i(q, id, lease, kind, reason, n)
      join ${db.jobs.as('j')} on ${j.queueName} = i.q and ${j.id} = i.id and ${j.lease} = i.lease
      where ${j.state} <> 'active' and (${j.cancelledAt} is not null or ${asAsked})`;
  },
  { repeatable: true },
);

/**
 * Those of a batch that have ended under the very lease they name: a settlement whose answer was lost with its
 * connection has taken effect, and is not found active when it is sent again.
 */
export async function settledAlready(
  executor: Executor,
  batch: readonly Settlement[],
): Promise<(Settled | undefined)[]> {
  const outcomes = new Array<Settled | undefined>(batch.length).fill(undefined);
  const rows = await executor.run(selectSettled, { batch: `[${batch.map(encode).join(',')}]` });
  for (const [place, state, cancelled] of rows as string[][]) {
    outcomes[Number(place) - 1] = { state: state as JobState, cancelled: cancelled === 'true', removed: false };
  }
  return outcomes;
}

import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Slots, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs, instantOf, now, statementTime } from '../../db/time.js';
import { generateId } from '../../model/ids.js';
import { dateOf, insertInput, insertSelect, type JobRecord, type Saved } from '../add/insert.js';
import { jobsOfTicks } from '../rows/schedule-row.js';
import { liveJobOf, overlaps, unstarted, versionOf } from '../rules/schedule-jobs.js';
import { ended, inState, live } from '../rules/states.js';
import { untilSettled } from './contended.js';

export interface Registration {
  readonly queueName: string;
  readonly key: string;
  readonly jobName: string;
  /** JSON text. */
  readonly data: string;
  /** JSON text. */
  readonly opts: string;
  /** One of `cron` and `everyMs`. */
  readonly cron: string | null;
  readonly everyMs: number | null;
  readonly tz: string | null;
  /** Times are epoch ms. */
  readonly startAt: number | null;
  readonly endAt: number | null;
  /** Where the ticks of an interval count from. */
  readonly anchorAt: number;
  readonly firstTick: number;
  /** Repetitions after the first run; null: no limit. */
  readonly limit: number | null;
}

const PARAMS = [
  'queue',
  'key',
  'name',
  'data',
  'opts',
  'cron',
  'every',
  'tz',
  'start',
  'end',
  'anchor',
  'first',
  'limit',
  'job',
  'spare',
] as const;
type Given = Slots<(typeof PARAMS)[number]>;

/**
 * The registration as a row `r`, so that each large parameter is sent once. There is none if another has changed the
 * schedule since the statement's snapshot, which then shows the jobs as they were before (`seen`, not `before`).
 */
function given(db: Tables, p: Given): SQL {
  const s = alias(db.schedules, 's');
  const own = sql`${s.queueName} = ${p.queue} and ${s.key} = ${p.key}`;
  return sql`
    seen as materialized (select ${versionOf(s)} as version from ${db.schedules} as ${s} where ${own}),
    before as materialized (
      select ${s}.*, ${versionOf(s)} as version from ${db.schedules} as ${s} where ${own} for update of s),
    r as materialized (
      select ${p.queue} as q, ${p.key} as key, ${p.name} as name, ${p.data}::jsonb as data, ${p.opts}::jsonb as opts,
        ${p.cron} as cron, ${p.every}::bigint as every, ${p.tz} as tz, ${instantOf(p.start)} as start_at,
        ${instantOf(p.end)} as end_at, ${instantOf(p.anchor)} as anchor_at, ${instantOf(p.first)} as first_at,
        ${p.first}::float8 as first_ms, ${p.limit}::int as runs, ${p.job}::jsonb as job, ${p.spare} as spare,
        ${instantOf(p.first)} <= ${statementTime} as at_once
      where (select count(*) from seen) = (select count(*) from before)
        and not exists (select 1 from seen, before where seen.version <> before.version))`;
}

/** The CTE `before`, whose columns are those of the table. */
const beforeOf = (db: Tables) => alias(db.schedules, 'before');

/**
 * Compares the existing schedule with its new registration. Another expression, interval or zone under the same key
 * restarts it. A later end or a higher limit resumes one that had ended; an earlier end may end it. Otherwise it keeps its
 * tick, because every deploy registers its schedules again.
 */
function decide(db: Tables): SQL {
  const b = beforeOf(db);
  const oldLimit = sql`case when jsonb_typeof(${b.opts} #> '{repeat,limit}') = 'number'
    then (${b.opts} #>> '{repeat,limit}')::numeric end`;
  return sql`
    compared as materialized (
      select ${b.tickAt} as tick, ${b.runsLeft} as runs, ${b.endAt} as end_at,
        (${b.cron}, ${b.everyMs}, ${b.timezone}) is distinct from (r.cron, r.every, r.tz) as other,
        (${b.jobName}, ${b.data}, ${b.opts}) is distinct from (r.name, r.data, r.opts) as revised,
        case when r.runs is null or ${b.runsLeft} is null then r.runs
          else greatest(0, ${b.runsLeft} + r.runs - coalesce(${oldLimit}, r.runs))::int end as runs_now
      from before cross join r),
    plan as materialized (
      select c.*, not c.other and c.tick is null and c.runs_now is distinct from 0
          and (c.runs_now is distinct from c.runs or c.end_at is distinct from r.end_at) as resumed,
        not c.other and c.tick is not null and coalesce(c.tick > r.end_at, false) as over
      from compared c cross join r)`;
}

/** Writes the schedule. `act` then says what becomes of its jobs; it has no row if another process has just created it. */
function saveSchedule(db: Tables): SQL {
  const s = alias(db.schedules, 's');
  const col = bare(db.schedules);
  const restart = sql`(plan.other or plan.resumed)`;
  const tick = sql`case when ${restart} then r.first_at when plan.over then null else ${s.tickAt} end`;
  return sql`
    created as (
      insert into ${db.schedules} (${col.queueName}, ${col.key}, ${col.jobName}, ${col.data}, ${col.opts},
        ${col.cron}, ${col.everyMs}, ${col.timezone}, ${col.startAt}, ${col.endAt}, ${col.anchorAt}, ${col.tickAt},
        ${col.runsLeft})
      select q, key, name, data, opts, cron, every, tz, start_at, end_at, anchor_at, first_at, runs from r
      where not exists (select 1 from before)
      on conflict do nothing returning 1),
    changed as (
      update ${db.schedules} as ${s} set ${col.jobName} = r.name, ${col.data} = r.data, ${col.opts} = r.opts,
        ${col.cron} = r.cron, ${col.everyMs} = r.every, ${col.timezone} = r.tz, ${col.endAt} = r.end_at,
        ${col.startAt} = case when plan.other then r.start_at else ${s.startAt} end,
        ${col.anchorAt} = case when ${restart} then r.anchor_at else ${s.anchorAt} end,
        ${col.tickAt} = ${tick}, ${col.endedAt} = case when (${tick}) is null then ${now} end,
        ${col.runsLeft} = case when plan.other then r.runs when plan.resumed then plan.runs_now - 1
          else plan.runs_now end
      from r, plan where ${s.queueName} = r.q and ${s.key} = r.key and (plan.other or plan.resumed or plan.over
        or plan.revised or plan.tick is null or plan.end_at is distinct from r.end_at
        or plan.runs_now is distinct from plan.runs)
      returning 1),
    act as materialized (
      select coalesce(${restart}, true) as starts, coalesce(plan.revised, false) as revised,
        coalesce(plan.over, false) as over, plan.tick
      from r left join plan on true where exists (select 1 from before) or exists (select 1 from created))`;
}

/**
 * The jobs of the schedule that have not begun: `mine` are those of the tick from now on. One of them is kept
 * (`pending`). Others for the same tick are left from a version that did not withdraw the jobs of a removed schedule.
 */
function pendingJobs(db: Tables): SQL {
  const j = alias(db.jobs, 'j');
  return sql`
    mine as materialized (
      select ${j.id} as id, ${j.state} as state, ${j.delayUntil} as until, ${j.seq} as seq
      from act cross join r join ${db.jobs} as ${j} on ${liveJobOf(j, sql`r.q`, sql`r.key`)}
      where ${unstarted(j)} and case ${j.state}
        when 'delayed' then ${j.delayUntil} = act.tick or not exists (select 1 from before)
        else act.starts and r.at_once end
      order by ${j.id} for update of j),
    pending as materialized (select * from mine order by state desc, until, seq, id limit 1)`;
}

/**
 * Registers a schedule with the job of its first tick, in one statement. A job of the schedule that has not begun is
 * adopted. If the first tick is now but other jobs are in the way (not `waits`), its job is delayed until that tick, and
 * the next advance decides about it. `spare` is the id of the first job if the caller's own is taken. Answers with no
 * row when the schedule was changed, or created by another transaction, since the snapshot.
 */
const register = statement(
  'register schedule',
  PARAMS,
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const job = bare(db.jobs);
    const own = (id: SQL) => sql`${j.queueName} = r.q and ${j.id} = ${id}`;
    const inTheWay = overlaps(db, {
      queue: sql`r.q`,
      key: sql`r.key`,
      overlap: sql`coalesce(r.opts #>> '{repeat,overlap}', 'skip')`,
      // One that waits is adopted, or else was claimed since the snapshot.
      except: (k) => sql`${unstarted(k)} and ${inState(k, 'delayed')}`,
    });
    const insert = (id: SQL, where: SQL) => sql`
      insert into ${db.jobs} ${insertSelect(db)} from (${insertInput(
        db,
        jobsOfTicks(
          sql`(r.job || jsonb_build_object('id', ${id}))`,
          sql`r.key`,
          sql`case when act.waits then 'waiting' else 'delayed' end`,
          sql`case when not act.waits then r.first_ms end`,
          sql`r cross join first_run act where act.starts and not exists (select 1 from pending) ${where}`,
        ),
      )}) x
      on conflict do nothing returning ${job.id} as id, ${job.delayUntil} as until, ${job.createdAt} as created_at`;
    const latest = (which: SQL) => sql`(select ${j.id} from r join ${db.jobs} as ${j}
      on ${j.queueName} = r.q and ${j.scheduleKey} = r.key and ${which} order by ${j.seq} desc limit 1)`;
    return sql`
      with ${given(db, p)}, ${decide(db)}, ${saveSchedule(db)}, ${pendingJobs(db)},
      first_run as materialized (
        select act.*, r.at_once and (coalesce((select state = 'waiting' from pending), false) or not ${inTheWay}) as waits
        from act cross join r),
      withdrawn as (
        delete from ${db.jobs} as ${j} using r, mine, act where ${own(sql`mine.id`)} and mine.state = 'delayed'
          and (act.over or mine.id not in (select id from pending))
        returning ${j.id} as id),
      adopted as (
        update ${db.jobs} as ${j} set ${job.name} = r.name, ${job.data} = r.data, ${job.opts} = r.opts,
          ${job.priority} = coalesce((r.job ->> 'priority')::int, 0), ${job.groupId} = r.job ->> 'group_id',
          ${job.seq} = case when (r.job ->> 'lifo')::boolean then -abs(${j.seq}) else abs(${j.seq}) end,
          ${job.deduplicationKey} = null,
          ${job.state} = case when not act.starts then ${j.state} when act.waits then 'waiting' else 'delayed' end,
          ${job.delayUntil} = case when not act.starts then ${j.delayUntil} when not act.waits then r.first_at end
        from r, pending, first_run act where ${own(sql`pending.id`)} and (act.starts or act.revised) and not act.over
        returning ${j.id} as id, ${j.state} as state),
      inserted as (${insert(sql`r.job ->> 'id'`, sql``)}),
      inserted_spare as (${insert(sql`r.spare`, sql`and not exists (select 1 from inserted)`)}),
      added as (select * from inserted union all select * from inserted_spare)
      select ${columns(
        sql`coalesce((select id from added), (select id from pending), ${latest(live(j.state))},
          ${latest(ended(j.state))})`,
        sql`exists (select 1 from added)`,
        sql`(select ${epochMs(sql`until`)} from added)`,
        sql`(select ${epochMs(sql`created_at`)} from added)`,
        sql`(select state from adopted)`,
        sql`(select jsonb_agg(id) from withdrawn)`,
      )} from act`;
  },
  // Sent again after it took effect, it finds the schedule as registered and changes nothing.
  { repeatable: true },
);

const INT_MAX = 2 ** 31 - 1;

export interface Registered extends Saved {
  /** The state of an existing job that was adopted, and so may be due at another time now; null: none was. */
  readonly adopted: 'waiting' | 'delayed' | null;
  /** Ids of jobs that were deleted, because their tick is none of the schedule's any more or has a job already. */
  readonly withdrawn: string[];
}

/**
 * Registers a repeating schedule with the job of its first tick, or brings the one with this key up to date. Answers
 * with the new job, else with the schedule's live one or its latest. When it has none any more: with the record's id.
 *
 * @throws ConveyorError `SCHEDULE_CONTENDED`
 */
export function registerSchedule(
  executor: Executor,
  registration: Registration,
  record: JobRecord,
): Promise<Registered> {
  const { queueName, key, jobName, data, opts, cron, everyMs, tz, startAt, endAt, anchorAt, firstTick, limit } =
    registration;
  return untilSettled(queueName, key, async () => {
    const [row] = await executor.run(register, {
      queue: queueName,
      key,
      name: jobName,
      data,
      opts,
      cron,
      every: everyMs,
      tz,
      start: startAt,
      end: endAt,
      anchor: anchorAt,
      first: firstTick,
      limit: limit === null ? null : Math.min(limit, INT_MAX),
      job: record.json,
      spare: generateId(),
    });
    if (!row) return undefined;
    const [id, created, until, createdAt, adopted, withdrawn] = row;
    return {
      id: id ?? record.id,
      created: created === 'true',
      delayUntil: dateOf(until),
      createdAt: dateOf(createdAt),
      adopted: (adopted ?? null) as Registered['adopted'],
      withdrawn: withdrawn == null ? [] : (JSON.parse(withdrawn) as string[]),
    };
  });
}

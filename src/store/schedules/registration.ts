import { type SQL, sql } from 'drizzle-orm';
import type { Slots } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { instantOf, now, statementTime } from '../../db/time.js';
import { liveJobOf, unstarted, versionOf } from '../rules/schedule-jobs.js';

/** What a registration finds and decides, as parts of its statement. */

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

export const REGISTRATION_PARAMS = [
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
type Given = Slots<(typeof REGISTRATION_PARAMS)[number]>;

/**
 * The registration as a row `r`, so that each large parameter is sent once. There is none if another has changed the
 * schedule since the statement's snapshot, which then shows the jobs as they were before (`seen`, not `before`).
 */
export function given(db: Tables, p: Given): SQL {
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
export function decide(db: Tables): SQL {
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
export function saveSchedule(db: Tables): SQL {
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
export function pendingJobs(db: Tables): SQL {
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

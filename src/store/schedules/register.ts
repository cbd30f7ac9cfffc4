import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs, instantOf, statementTime } from '../../db/time.js';
import { ConveyorError } from '../../model/errors.js';
import { dateOf, insertInput, insertSelect, type JobRecord, type Saved } from '../add/insert.js';
import { jobsOfTick } from '../rows/schedule-row.js';

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
] as const;
type Slots = Readonly<Record<(typeof PARAMS)[number], SQL>>;

/** The registration as a row `r`, so that each large parameter is sent once. */
function given(p: Slots): SQL {
  return sql`select ${p.queue} as q, ${p.key} as key, ${p.name} as name, ${p.data}::jsonb as data, ${p.opts}::jsonb as opts,
    ${p.cron} as cron, ${p.every}::bigint as every, ${p.tz} as tz, ${instantOf(p.start)} as start_at,
    ${instantOf(p.end)} as end_at, ${instantOf(p.anchor)} as anchor_at, ${instantOf(p.first)} as first_at,
    ${p.first}::float8 as first_ms, ${p.limit}::int as runs, ${p.job}::jsonb as job`;
}

/**
 * Compares the existing schedule (`s`, locked) with its new registration (`r`). Another expression, interval or zone
 * under the same key restarts it. A later end or a higher limit resumes one that had ended; an earlier end may end it.
 * Otherwise it keeps its tick, because every deploy registers its schedules again.
 */
function decide(db: Tables): SQL {
  const s = alias(db.schedules, 's');
  const oldLimit = sql`case when jsonb_typeof(${s.opts} #> '{repeat,limit}') = 'number'
    then (${s.opts} #>> '{repeat,limit}')::numeric end`;
  return sql`
    before as materialized (
      select ${s.tickAt} as tick, ${s.runsLeft} as runs, ${s.endAt} as end_at,
        (${s.cron}, ${s.everyMs}, ${s.timezone}) is distinct from (r.cron, r.every, r.tz) as other,
        (${s.jobName}, ${s.data}, ${s.opts}) is distinct from (r.name, r.data, r.opts) as revised,
        case when r.runs is null or ${s.runsLeft} is null then r.runs
          else greatest(0, ${s.runsLeft} + r.runs - coalesce(${oldLimit}, r.runs))::int end as runs_now
      from ${db.schedules} as ${s} join r on ${s.queueName} = r.q and ${s.key} = r.key for update of s),
    plan as materialized (
      select b.*, not b.other and b.tick is null and b.runs_now is distinct from 0
          and (b.runs_now is distinct from b.runs or b.end_at is distinct from r.end_at) as resumed,
        not b.other and b.tick is not null and coalesce(b.tick > r.end_at, false) as over
      from before b cross join r)`;
}

/**
 * Registers a schedule with the job of its first tick, in one statement. `pending` is the job of the current tick
 * as long as it has not run or been changed: it follows a change of the schedule. Answers with no row when the schedule
 * of another transaction exists but is not visible yet.
 */
const register = statement(
  'register schedule',
  PARAMS,
  (db, p) => {
    const s = alias(db.schedules, 's');
    const col = bare(db.schedules);
    const j = alias(db.jobs, 'j');
    const ofSchedule = sql`${j.queueName} = r.q and ${j.scheduleKey} = r.key`;
    const restart = sql`(plan.other or plan.resumed)`;
    return sql`
      with r as materialized (${given(p)}),
      ${decide(db)},
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
          ${col.tickAt} = case when ${restart} then r.first_at when plan.over then null else ${s.tickAt} end,
          ${col.runsLeft} = case when plan.other then r.runs when plan.resumed then plan.runs_now - 1
            else plan.runs_now end
        from r, plan where ${s.queueName} = r.q and ${s.key} = r.key and (plan.other or plan.resumed or plan.over
          or plan.revised or plan.end_at is distinct from r.end_at or plan.runs_now is distinct from plan.runs)
        returning 1),
      pending as materialized (
        select ${j}.ctid as at, ${j.id} as id from r, plan, ${db.jobs} as ${j}
        where ${j.queueName} = r.q and ${j.state} = 'delayed' and ${j.delayUntil} = plan.tick
          and ${j.scheduleKey} = r.key and ${j.attemptsMade} = 0
        order by ${j.id} limit 1 for update of j),
      withdrawn as (
        delete from ${db.jobs} as ${j} using pending, plan where ${j}.ctid = pending.at and plan.over returning 1),
      moved as (
        update ${db.jobs} as ${j} set ${bare(db.jobs).name} = r.name, ${bare(db.jobs).data} = r.data,
          ${bare(db.jobs).opts} = r.opts, ${bare(db.jobs).priority} = coalesce((r.job ->> 'priority')::int, 0),
          ${bare(db.jobs).state} = case when plan.other and r.first_at <= ${statementTime} then 'waiting' else 'delayed' end,
          ${bare(db.jobs).delayUntil} = case when not plan.other then ${j.delayUntil}
            when r.first_at > ${statementTime} then r.first_at end
        from r, plan, pending where ${j}.ctid = pending.at and (plan.other or plan.revised) and not plan.over returning 1),
      inserted as (
        insert into ${db.jobs} ${insertSelect(db)} from (${insertInput(
          db,
          jobsOfTick(
            sql`r.job`,
            sql`r.key`,
            sql`r.first_ms`,
            sql`r where exists (select 1 from created) or exists (select 1 from plan where ${restart}
              and not (plan.other and exists (select 1 from pending)))`,
          ),
        )}) x
        on conflict do nothing
        returning ${bare(db.jobs).id} as id, ${bare(db.jobs).delayUntil} as until, ${bare(db.jobs).createdAt} as created_at)
      select ${columns(
        sql`coalesce((select id from inserted), (select id from pending), (select ${j.id} from ${db.jobs} as ${j}
          where ${ofSchedule} order by ${j.state} in ('completed', 'failed'), ${j.seq} desc limit 1))`,
        sql`exists (select 1 from inserted)`,
        sql`(select ${epochMs(sql`until`)} from inserted)`,
        sql`(select ${epochMs(sql`created_at`)} from inserted)`,
      )} from r where exists (select 1 from before) or exists (select 1 from created)`;
  },
  // Sent again after it took effect, it finds the schedule as registered and changes nothing.
  { repeatable: true },
);

const RACE_ROUNDS = 10;
const INT_MAX = 2 ** 31 - 1;

/**
 * Registers a repeating schedule with the job of its first tick, or brings the one with this key up to date. Answers
 * with the new job, else with the schedule's live one or its latest. When it has none any more: with the record's id.
 */
export async function registerSchedule(
  executor: Executor,
  registration: Registration,
  record: JobRecord,
): Promise<Saved> {
  const { queueName, key, jobName, data, opts, cron, everyMs, tz, startAt, endAt, anchorAt, firstTick, limit } =
    registration;
  for (let round = 0; round < RACE_ROUNDS; round++) {
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
    });
    // Another process has just registered it; the next statement's snapshot shows it.
    if (!row) continue;
    const [id, created, until, createdAt] = row;
    return {
      id: id ?? record.id,
      created: created === 'true',
      delayUntil: dateOf(until),
      createdAt: dateOf(createdAt),
    };
  }
  throw new ConveyorError(
    `Schedule "${key}" of queue "${queueName}" was registered and removed too often to be found: try again.`,
    { code: 'SCHEDULE_CONTENDED' },
  );
}

import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Slots, statement } from '../../db/statement.js';
import { alias, bare, type Tables } from '../../db/tables.js';
import { epochMs, instantOf, now } from '../../db/time.js';
import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { insertInput, insertSelect, type JobRecord } from '../add/insert.js';
import { jobsOfTicks, NOW_COLUMN, readSchedule, scheduleColumns } from '../rows/schedule-row.js';
import { isAhead, liveJobOf, overlapOf, overlaps, versionOf } from '../rules/schedule-jobs.js';
import { SKIP_NONE } from '../rules/set-aside.js';

const DUE_CHUNK = 100;

const selectDue = statement(
  'due schedules',
  ['queue'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`select ${scheduleColumns(db)} from ${db.schedules} as ${s}
      where ${s.queueName} = ${p.queue} and ${s.tickAt} is not null and ${s.tickAt} <= now()
      order by ${s.tickAt} limit ${sql.raw(String(DUE_CHUNK))}`;
  },
  { repeatable: true },
);

/** Schedules whose tick has passed, and the database's time (epoch ms) at which they were read. */
export async function dueSchedules(
  executor: Executor,
  queueName: string,
): Promise<{ schedules: StoredSchedule[]; now: number }> {
  const rows = await executor.run(selectDue, { queue: queueName });
  return { schedules: rows.map(readSchedule), now: Number(rows[0]?.[NOW_COLUMN] ?? 0) };
}

/**
 * The schedules to advance, locked, each with the job of its tick if that is still ahead. Schedules and jobs that others
 * hold are passed over. So is a schedule that has changed since the statement's snapshot (`current`, not `due`) or whose
 * job has (`seen`, not `ahead`): the next statement sees what they are.
 */
function lockedTicks(db: Tables, p: Slots<'queue' | 'schedules' | 'aside'>): SQL {
  const s = alias(db.schedules, 's');
  const j = alias(db.jobs, 'j');
  const jobsAhead = sql`due join ${db.jobs} as ${j} on ${liveJobOf(j, p.queue, sql`due.key`)}
    and ${isAhead(j, sql`due.tick`)}`;
  const inTheWay = overlaps(db, {
    queue: p.queue,
    key: sql`due.key`,
    overlap: sql`due.overlap`,
    except: (k) =>
      sql`${isAhead(k, sql`due.tick`)} or ${k.id} = any(array(select jsonb_array_elements_text(${p.aside}::jsonb)))`,
  });
  return sql`
    input as materialized (
      select * from jsonb_to_recordset(${p.schedules}::jsonb) as x (key text, tick bigint, next float8, job jsonb)),
    current as materialized (
      select ${s.key} as key, ${versionOf(s)} as version from input
      join ${db.schedules} as ${s} on ${s.queueName} = ${p.queue} and ${s.key} = input.key),
    due as materialized (
      select ${s.key} as key, ${versionOf(s)} as version, ${s.tickAt} as tick, ${s.runsLeft} as runs, ${overlapOf(s.opts)} as overlap,
        input.next, input.job
      from input join ${db.schedules} as ${s} on ${s.queueName} = ${p.queue} and ${s.key} = input.key
      where ${epochMs(s.tickAt)} = input.tick and ${s.tickAt} <= now()
      order by input.key for update of s skip locked),
    seen as materialized (select due.key, count(*) as jobs from ${jobsAhead} group by 1),
    ahead as materialized (
      select due.key, ${j.id} as id, ${j.seq} as seq from ${jobsAhead} order by ${j.id} for update of j skip locked),
    first_ahead as materialized (
      select key, (array_agg(id order by seq, id))[1] as id, count(*) as jobs from ahead group by 1),
    plan as materialized (
      select due.*, first_ahead.id as job_id, first_ahead.id is not null and ${inTheWay} as skipped
      from due join current on current.key = due.key and current.version = due.version
      left join first_ahead on first_ahead.key = due.key left join seen on seen.key = due.key
      where seen.jobs is not distinct from first_ahead.jobs)`;
}

const advance = statement(
  'advance schedule',
  ['queue', 'schedules', 'aside'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    const col = bare(db.schedules);
    const j = alias(db.jobs, 'j');
    const job = bare(db.jobs);
    const spent = sql`(plan.runs is not null and plan.runs <= 0 and not plan.skipped)`;
    const ends = sql`(${spent} or plan.next is null)`;
    const own = (id: SQL) => sql`${j.queueName} = ${p.queue} and ${j.id} = ${id}`;
    return sql`
      with ${lockedTicks(db, p)},
      moved as (
        update ${db.schedules} as ${s} set
          ${col.tickAt} = case when not ${ends} then ${instantOf(sql`plan.next`)} end,
          ${col.runsLeft} = case when ${ends} or plan.skipped then ${s.runsLeft} else ${s.runsLeft} - 1 end,
          ${col.endedAt} = case when ${ends} then ${now} end
        from plan where ${s.queueName} = ${p.queue} and ${s.key} = plan.key
        returning plan.key, plan.job_id, plan.skipped, plan.next, plan.job, ${ends} as ended),
      changed as (
        update ${db.jobs} as ${j} set ${job.state} = case when moved.skipped then 'delayed' else 'waiting' end,
          ${job.delayUntil} = case when moved.skipped then ${instantOf(sql`moved.next`)} end
        from moved where ${own(sql`moved.job_id`)} and not (moved.skipped and moved.ended)
        returning ${j.id} as id, ${j.state} as state),
      withdrawn as (
        delete from ${db.jobs} as ${j} using ahead, moved where moved.key = ahead.key and ${own(sql`ahead.id`)}
          and (ahead.id <> moved.job_id or (moved.skipped and moved.ended))
        returning ${j.id} as id),
      inserted as (
        insert into ${db.jobs} ${insertSelect(db)} from (${insertInput(
          db,
          jobsOfTicks(
            sql`moved.job`,
            sql`moved.key`,
            // Also when that tick has passed by now: the next advance then decides about it.
            sql`'delayed'`,
            sql`moved.next`,
            sql`moved where not moved.ended and not moved.skipped`,
          ),
        )}) x
        on conflict do nothing returning ${job.id} as id)
      select ${columns(sql`'advanced'`, sql`key`)} from moved
      union all select state, id from changed
      union all select 'delayed', id from inserted
      union all select 'removed', id from withdrawn`;
  },
  // Compare and set: sent again, it finds that the tick has moved on and does nothing.
  { repeatable: true },
);

/** A schedule whose tick has passed. */
export interface Tick {
  readonly schedule: StoredSchedule;
  /** Epoch ms of the next tick, with its job; null: there is none, whatever the schedule's limit is. */
  readonly next: { readonly at: number; readonly record: JobRecord } | null;
}

export interface Advanced {
  /** Keys of the schedules that this call has advanced; others were advanced by another process, or are held by one. */
  readonly keys: string[];
  /** Ids of jobs that became waiting: their tick has come. */
  readonly waiting: string[];
  /** Ids of jobs of next ticks: new ones, and those whose tick was passed over. */
  readonly delayed: string[];
  /** Ids of jobs that were deleted: of a last tick that was passed over, or a second one for the same tick. */
  readonly removed: string[];
}

/**
 * Called when ticks of a queue have passed: makes their jobs waiting and inserts those of the next ticks. A tick that
 * the overlap policy forbids is passed over: its job moves to the next tick, and the limit is not touched. A schedule
 * without a next tick, or at its limit, ends. Each schedule changes together with its jobs, and of many callers one
 * succeeds.
 *
 * @param aside ids of jobs that do not count as live, as a JSON array
 */
export async function advanceSchedules(
  executor: Executor,
  queueName: string,
  ticks: readonly Tick[],
  aside = SKIP_NONE,
): Promise<Advanced> {
  const done: Advanced = { keys: [], waiting: [], delayed: [], removed: [] };
  const input = ticks.map(({ schedule, next }) => {
    const tick = schedule.tickAt?.getTime() ?? null;
    return `{"key":${JSON.stringify(schedule.key)},"tick":${tick},"next":${next?.at ?? null},"job":${next?.record.json ?? null}}`;
  });
  const rows = await executor.run(advance, { queue: queueName, schedules: `[${input.join(',')}]`, aside });
  for (const [kind, id] of rows) {
    done[kind === 'advanced' ? 'keys' : (kind as 'waiting' | 'delayed' | 'removed')].push(id as string);
  }
  return done;
}

const postpone = statement(
  'postpone schedule',
  ['queue', 'key', 'tick'],
  (db, p) => {
    const s = alias(db.schedules, 's');
    return sql`update ${db.schedules} as ${s} set ${bare(db.schedules).tickAt} = ${now} + interval '1 hour'
      where ${s.queueName} = ${p.queue} and ${s.key} = ${p.key} and ${epochMs(s.tickAt)} = ${p.tick}::bigint
      returning ${columns(s.key)}`;
  },
  { repeatable: true },
);

/** Postpones by an hour a schedule that cannot be advanced, so that it is not found due over and over. */
export async function postponeSchedule(executor: Executor, schedule: StoredSchedule): Promise<boolean> {
  const { queueName: queue, key, tickAt } = schedule;
  return (await executor.run(postpone, { queue, key, tick: tickAt?.getTime() ?? null })).length > 0;
}

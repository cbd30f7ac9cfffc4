import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { generateId } from '../../model/ids.js';
import { dateOf, insertInput, insertSelect, type JobRecord, type Saved } from '../add/insert.js';
import { jobsOfTicks } from '../rows/schedule-row.js';
import { overlapOf, overlaps, unstarted } from '../rules/schedule-jobs.js';
import { ended, inState, live } from '../rules/states.js';
import { untilSettled } from './contended.js';
import { decide, given, pendingJobs, REGISTRATION_PARAMS, type Registration, saveSchedule } from './registration.js';

/**
 * Registers a schedule with the job of its first tick, in one statement. A job of the schedule that has not begun is
 * adopted. If the first tick is now but other jobs are in the way (not `waits`), its job is delayed until that tick, and
 * the next advance decides about it. `spare` is the id of the first job if the caller's own is taken. Answers with no
 * row when the schedule was changed, or created by another transaction, since the snapshot.
 */
const register = statement(
  'register schedule',
  REGISTRATION_PARAMS,
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const job = bare(db.jobs);
    const own = (id: SQL) => sql`${j.queueName} = r.q and ${j.id} = ${id}`;
    const inTheWay = overlaps(db, {
      queue: sql`r.q`,
      key: sql`r.key`,
      overlap: overlapOf(sql`r.opts`),
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

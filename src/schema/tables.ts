import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  doublePrecision,
  index,
  integer,
  PgSchema,
  pgSchema,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import type { AttemptRecord, JobOptions, JobState } from '../model/job.js';
import { instant, int64, json } from './columns.js';

/** What orders jobs that are added one after the other. */
export const JOBS_SEQUENCE = 'conveyor_jobs_seq_seq';
/** Ids of metrics buckets. */
export const METRICS_SEQUENCE = 'conveyor_metrics_id_seq';

/**
 * States are `text` with a CHECK, not an enum: a value added to an enum cannot be used in the same migration. The
 * constraints say what always holds; combinations that `updateJob` may legally make (an active job without a lock)
 * are not forbidden. There are no foreign keys: a parent may not exist, and on a hot table they make MultiXacts.
 * Index predicates are literals, so that a generic plan still proves that an index applies.
 *
 * `N`, `D` and `R` are the types of job names, payloads and results.
 */
function makeTables<N extends string, D, R>(schema: PgSchema | undefined) {
  const table = (schema === undefined ? pgTable : schema.table) as typeof pgTable;

  const conveyorJobs = table(
    'conveyor_jobs',
    {
      // What never changes stands first, what each claim and settlement writes stands last: an update that stays on its
      // page then logs only the tail of the row.
      queueName: text('queue_name').notNull(),
      id: text('id').notNull(),
      name: text('name').notNull().$type<N>(),
      data: json('data').notNull().$type<D>(),
      opts: json('opts').notNull().$type<JobOptions>().default(sql`'{}'::jsonb`),
      createdAt: instant('created_at').notNull().default(sql`now()`),
      groupId: text('group_id'),
      parentId: text('parent_id'),
      parentQueueName: text('parent_queue_name'),
      childrenIds: json('children_ids').notNull().$type<string[]>().default(sql`'[]'::jsonb`),
      /** The repeating schedule that made this job. */
      scheduleKey: text('schedule_key'),
      deduplicationKey: text('deduplication_key'),
      logs: json('logs').notNull().$type<string[]>().default(sql`'[]'::jsonb`),
      stacktrace: json('stacktrace').notNull().$type<string[]>().default(sql`'[]'::jsonb`),
      pendingChildrenCount: integer('pending_children_count').notNull().default(0),
      /** Values of completed children that were removed, by their ids. */
      childrenValues: json('children_values').$type<Record<string, unknown>>(),
      priority: integer('priority').notNull().default(0),
      /** First in, first out inside a priority; negative for `lifo` jobs. A retried job takes a new one. */
      seq: bigint('seq', { mode: 'number' }).notNull().generatedByDefaultAsIdentity({ name: JOBS_SEQUENCE }),
      progress: doublePrecision('progress').notNull().default(0),
      discarded: boolean('discarded').notNull().default(false),
      stalledCount: integer('stalled_count').notNull().default(0),
      attemptsMade: integer('attempts_made').notNull().default(0),
      /** The fencing token: each claim increments it, and every write of a worker names it. */
      lease: integer('lease').notNull().default(0),
      /**
       * The lease under which the start of the handler was recorded; 0: a lease expired before that. The lease negated: made
       * completed by `updateJob`, whose caller keeps the records.
       */
      startedLease: integer('started_lease'),
      /** Under that lease nothing else ran in the process. */
      startedAlone: boolean('started_alone').notNull().default(false),
      state: text('state').notNull().$type<JobState>(),
      lockedBy: text('locked_by'),
      lockUntil: instant('lock_until'),
      delayUntil: instant('delay_until'),
      processedAt: instant('processed_at'),
      completedAt: instant('completed_at'),
      failedAt: instant('failed_at'),
      cancelledAt: instant('cancelled_at'),
      returnvalue: json('returnvalue').$type<R>(),
      failedReason: text('failed_reason'),
      /** Empty for a job that completed at its first attempt and logged nothing: its times say what a record would. */
      attemptLogs: json('attempt_logs').notNull().$type<AttemptRecord[]>().default(sql`'[]'::jsonb`),
      /** When a finished job is deleted: `removeOnComplete` and `removeOnFail` with a number. */
      removeAt: instant('remove_at'),
    },
    (t) => [
      // The id first, so that it also finds a job whose queue is not known.
      primaryKey({ name: 'conveyor_jobs_pkey', columns: [t.id, t.queueName] }),
      check(
        'conveyor_jobs_state_check',
        sql`state in ('waiting', 'waiting-children', 'delayed', 'active', 'completed', 'failed')`,
      ),
      check('conveyor_jobs_progress_check', sql`progress >= 0 and progress <= 100`),
      check(
        'conveyor_jobs_counts_check',
        sql`attempts_made >= 0 and stalled_count >= 0 and pending_children_count >= 0 and lease >= 0`,
      ),
      index('conveyor_jobs_waiting_idx').on(t.queueName, t.priority, t.seq).where(sql`state = 'waiting'`),
      index('conveyor_jobs_group_idx').on(t.queueName, t.groupId, t.priority, t.seq).where(sql`state = 'waiting'`),
      index('conveyor_jobs_group_delayed_idx')
        .on(t.queueName, t.groupId)
        .where(sql`state = 'delayed' and group_id is not null`),
      index('conveyor_jobs_active_idx').on(t.queueName, t.groupId).where(sql`state = 'active'`),
      index('conveyor_jobs_delayed_idx').on(t.queueName, t.delayUntil).where(sql`state = 'delayed'`),
      index('conveyor_jobs_waiting_children_idx').on(t.queueName, t.seq).where(sql`state = 'waiting-children'`),
      index('conveyor_jobs_completed_idx').on(t.queueName, t.completedAt, t.seq).where(sql`state = 'completed'`),
      index('conveyor_jobs_failed_idx').on(t.queueName, t.failedAt, t.seq).where(sql`state = 'failed'`),
      uniqueIndex('conveyor_jobs_deduplication_idx')
        .on(t.queueName, t.deduplicationKey)
        .where(sql`deduplication_key is not null and state not in ('completed', 'failed')`),
      index('conveyor_jobs_parent_idx').on(t.parentId, t.parentQueueName).where(sql`parent_id is not null`),
      index('conveyor_jobs_flow_idx').on(t.createdAt, t.seq).where(sql`children_ids <> '[]'::jsonb`),
      index('conveyor_jobs_schedule_idx').on(t.queueName, t.scheduleKey).where(sql`schedule_key is not null`),
      // Without the history of ended jobs, which each tick would read.
      index('conveyor_jobs_schedule_live_idx')
        .on(t.queueName, t.scheduleKey)
        .where(sql`schedule_key is not null and state not in ('completed', 'failed')`),
      index('conveyor_jobs_remove_idx').on(t.removeAt).where(sql`remove_at is not null`),
    ],
  );

  const conveyorPausedNames = table(
    'conveyor_paused_names',
    {
      queueName: text('queue_name').notNull(),
      /** `__all__` pauses the whole queue. */
      jobName: text('job_name').notNull(),
    },
    (t) => [primaryKey({ name: 'conveyor_paused_names_pkey', columns: [t.queueName, t.jobName] })],
  );

  const conveyorGroupCursors = table(
    'conveyor_group_cursors',
    {
      queueName: text('queue_name').notNull(),
      /** Empty for the jobs without a group. */
      groupId: text('group_id').notNull(),
      lastServedAt: instant('last_served_at'),
      /** The order of service, exact also within one millisecond; 0 was never served. */
      servedSeq: int64('served_seq').notNull().default(0),
      /** Jobs ever added under the group's `maxSize`: what it grew by since a snapshot is missing from that one's counts. */
      added: int64('added').notNull().default(0),
      /** Recent fetches of a rate-limited group: `[[ms, count], …]`, oldest first. */
      fetches: json('fetches').notNull().$type<[number, number][]>().default(sql`'[]'::jsonb`),
      /** The longest window asked for, in ms. Older fetches are remembered roughly, and for an hour. */
      windowMs: int64('window_ms').notNull().default(0),
      /** Had waiting jobs at the last refresh: with many groups, claims go through the listed ones only. */
      listed: boolean('listed').notNull().default(false),
      /** In the row of the jobs without a group: when the list is refreshed next, and how many groups had waiting jobs. */
      surveyDue: instant('survey_due'),
      groupCount: integer('group_count'),
    },
    (t) => [
      primaryKey({ name: 'conveyor_group_cursors_pkey', columns: [t.queueName, t.groupId] }),
      index('conveyor_group_cursors_line_idx').on(t.queueName, t.servedSeq, t.groupId).where(sql`listed`),
    ],
  );

  const conveyorRateLimits = table('conveyor_rate_limits', {
    queueName: text('queue_name').primaryKey(),
    /** Jobs ever claimed under a limit of the queue: as `added` of the group cursors. */
    claimed: int64('claimed').notNull().default(0),
    /** Recent rate-limited fetches: `[[ms, count], …]`, oldest first. */
    fetches: json('fetches').notNull().$type<[number, number][]>().default(sql`'[]'::jsonb`),
    /** The longest window asked for, in ms. Older fetches are remembered roughly, and for an hour. */
    windowMs: int64('window_ms').notNull().default(0),
  });

  const conveyorSchedules = table(
    'conveyor_schedules',
    {
      queueName: text('queue_name').notNull(),
      /** The caller's `repeat.key`, or one derived from name, schedule and data. */
      key: text('key').notNull(),
      jobName: text('job_name').notNull(),
      data: json('data').notNull(),
      opts: json('opts').notNull().$type<JobOptions>(),
      cron: text('cron'),
      everyMs: int64('every_ms'),
      timezone: text('timezone'),
      startAt: instant('start_at'),
      endAt: instant('end_at'),
      /** Where the ticks of an interval count from. */
      anchorAt: instant('anchor_at').notNull(),
      /** The tick whose job exists already; when it has passed, the next tick's job is made. */
      tickAt: instant('tick_at'),
      /** Jobs that may still be made; null: no limit. */
      runsLeft: integer('runs_left'),
      createdAt: instant('created_at').notNull().default(sql`now()`),
      /** When a schedule without further ticks ended or was last registered: how long it is kept counts from here. */
      endedAt: instant('ended_at'),
    },
    (t) => [
      primaryKey({ name: 'conveyor_schedules_pkey', columns: [t.queueName, t.key] }),
      check('conveyor_schedules_kind_check', sql`(cron is null) <> (every_ms is null)`),
      index('conveyor_schedules_tick_idx').on(t.queueName, t.tickAt).where(sql`tick_at is not null`),
      index('conveyor_schedules_ended_idx').on(t.endedAt).where(sql`tick_at is null`),
    ],
  );

  const conveyorMetrics = table(
    'conveyor_metrics',
    {
      // A key of one column: that of a bucket has five, and drizzle-kit 0.x, which reads the columns of a key in any
      // order, would make it anew with each push.
      id: bigint('id', { mode: 'number' }).primaryKey().generatedByDefaultAsIdentity({ name: METRICS_SEQUENCE }),
      queueName: text('queue_name').notNull(),
      /** `__all__` stands for the queue. */
      jobName: text('job_name').notNull(),
      granularity: text('granularity').notNull().$type<'minute' | 'hour'>(),
      periodStart: instant('period_start').notNull(),
      /**
       * Parallel writers add to rows of their own, so that no one row makes them wait for each other. -1: a minute that
       * its hour contains already.
       */
      shard: integer('shard').notNull().default(0),
      completedCount: int64('completed_count').notNull().default(0),
      failedCount: int64('failed_count').notNull().default(0),
      totalProcessMs: int64('total_process_ms').notNull().default(0),
      minProcessMs: int64('min_process_ms'),
      maxProcessMs: int64('max_process_ms'),
    },
    (t) => [
      uniqueIndex('conveyor_metrics_bucket_idx').on(t.queueName, t.jobName, t.granularity, t.periodStart, t.shard),
      check('conveyor_metrics_granularity_check', sql`granularity in ('minute', 'hour')`),
      index('conveyor_metrics_period_idx').on(t.granularity, t.shard, t.periodStart),
    ],
  );

  const conveyorMigrations = table('conveyor_migrations', {
    version: integer('version').primaryKey(),
    name: text('name').notNull(),
    appliedAt: instant('applied_at').notNull().default(sql`now()`),
  });

  return {
    conveyorJobs,
    conveyorPausedNames,
    conveyorGroupCursors,
    conveyorRateLimits,
    conveyorSchedules,
    conveyorMetrics,
    conveyorMigrations,
  };
}

export type ConveyorTables = ReturnType<typeof makeTables<string, unknown, unknown>>;

/** The jobs table as one that holds only jobs named `N`, with the payload `D` and the result `R`. */
export type JobsTable<N extends string = string, D = unknown, R = unknown> = ReturnType<
  typeof makeTables<N, D, R>
>['conveyorJobs'];

/** The tables in a Postgres schema of their own; it is among them, because drizzle-kit makes it only when it sees it. */
export interface SchemaTables extends ConveyorTables {
  conveyorSchema: PgSchema;
}

/** Makes the conveyor tables in a Postgres schema; without a name, in the first one of the connection's search path. */
export function defineConveyor(schema?: 'public'): ConveyorTables;
export function defineConveyor(schema: string): SchemaTables;
export function defineConveyor(schema: string | undefined): ConveyorTables;
export function defineConveyor(schema?: string): ConveyorTables {
  if (schema === undefined || schema === 'public') return makeTables<string, unknown, unknown>(undefined);
  const conveyorSchema = pgSchema(schema);
  return Object.assign(makeTables<string, unknown, unknown>(conveyorSchema), { conveyorSchema });
}

/**
 * The tables as statements name them: qualified by every schema that is given, `public` included. `defineConveyor('public')`
 * leaves its tables unqualified, because drizzle-kit does.
 */
export function qualifiedTables(schema: string | undefined): ConveyorTables {
  return makeTables<string, unknown, unknown>(
    schema === undefined ? undefined : (Reflect.construct(PgSchema, [schema]) as PgSchema),
  );
}

/** Schedules by the statements themselves, without a queue or a worker. */
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { createJobData } from '../../src/model/create-job-data.js';
import { generateId } from '../../src/model/ids.js';
import type { JobOptions, RepeatOptions } from '../../src/model/job.js';
import { scheduledOptions } from '../../src/model/options/repeat-options.js';
import { firstTick, scheduleKey, scheduleOf } from '../../src/model/schedule/schedule.js';
import type { StoredSchedule } from '../../src/model/schedule/stored-schedule.js';
import { encodeRecord } from '../../src/store/add/insert.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import {
  listSchedules,
  type Registered,
  type Registration,
  registerSchedule,
  tickSchedules,
} from '../../src/store/schedules/list.js';
import { useDatabase } from './database.js';
import { recordingLogger } from './playground.js';

export const HOUR = 3_600_000;
/** The queue of all schedules. */
export const Q = 'q';

/** What `Queue.add` registers: the schedule, and the record of its first job. */
export function registration(repeat: RepeatOptions, data: unknown = { n: 1 }, more: JobOptions = {}) {
  const opts: JobOptions = { ...scheduledOptions(more), repeat };
  const job = createJobData(Q, 'report', data, opts);
  const first = firstTick(repeat, Date.now()) as number;
  const schedule = scheduleOf(repeat);
  const key = scheduleKey('report', repeat, data);
  const given: Registration = {
    queueName: Q,
    key,
    jobName: 'report',
    data: JSON.stringify(data),
    opts: JSON.stringify(job.opts),
    ...schedule,
    anchorAt: first,
    firstTick: first,
    limit: repeat.limit ?? null,
  };
  const record = encodeRecord(Q, job.id ?? generateId(), job, { maxPayloadBytes: 1e7, scheduleKey: key });
  return { given, record };
}

/** A store in a database of its own, emptied before each test of the file. */
export function useSchedules() {
  const db = useDatabase();
  const { lines, logger } = recordingLogger();
  let opened: PgStore | undefined;
  const store = () => opened as PgStore;
  beforeAll(async () => {
    opened = new PgStore({ connection: db.url, autoMigrate: false, listen: false, logger });
    await opened.connect();
  });
  afterAll(() => opened?.disconnect());
  beforeEach(() => {
    lines.length = 0;
    return store().truncateAll();
  });
  const executor = () => store().engine.executor;
  return {
    db,
    store,
    executor,
    /** The errors that the running test has logged. */
    errors: () => lines.filter(({ level }) => level === 'error').map(({ message }) => message),
    register(repeat: RepeatOptions, data?: unknown, more?: JobOptions, by = store()): Promise<Registered> {
      const { given, record } = registration(repeat, data, more);
      return registerSchedule(by.engine.executor, given, record);
    },
    /** Advances what is due; resolves to how many schedules were. */
    tick: (by = store()) => tickSchedules(by.engine, Q),
    /** The only schedule that there is. */
    async only(): Promise<StoredSchedule> {
      const schedules = await listSchedules(executor(), Q);
      expect(schedules).toHaveLength(1);
      return schedules[0] as StoredSchedule;
    },
    /** All jobs, in the order of their insertion. */
    jobs: () =>
      db.sql<{ id: string; state: string; due: Date | null; key: string; data: unknown }[]>`
        select id, state, delay_until as due, schedule_key as key, data from conveyor_jobs order by seq`,
    /** Moves everything `ms` into the past, as if that time had passed, and promotes what is due then. */
    async pass(ms: number): Promise<void> {
      const by = `${ms / 1000} seconds`;
      await db.sql`update conveyor_schedules set tick_at = tick_at - ${by}::interval, anchor_at = anchor_at - ${by}::interval,
        start_at = start_at - ${by}::interval, end_at = end_at - ${by}::interval`;
      await db.sql`update conveyor_jobs set delay_until = delay_until - ${by}::interval, created_at = created_at - ${by}::interval`;
      await store().promoteDelayedJobs(Q, Date.now());
    },
    finishAll: () =>
      db.sql`update conveyor_jobs set state = 'completed', completed_at = now() where state in ('waiting', 'active')`,
  };
}

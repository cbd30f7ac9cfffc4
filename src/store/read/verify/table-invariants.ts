import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { alias } from '../../../db/tables.js';
import { isAhead, liveJobOf } from '../../rules/schedule-jobs.js';
import { invariant, told } from './invariant.js';

const notAList = (log: SQLWrapper): SQL => sql`jsonb_typeof(${log}) <> 'array'`;

/** What schedules, limits and metrics must agree on. */
export const TABLE_INVARIANTS = [
  // The schedule's row is the lock of its jobs ahead.
  invariant('tick-with-several-jobs', (db) => {
    const s = alias(db.schedules, 's');
    const j = alias(db.jobs, 'j');
    const ahead = sql`(select count(*) from ${db.jobs} as ${j}
      where ${liveJobOf(j, s.queueName, s.key)} and ${isAhead(j, s.tickAt)})`;
    return {
      ...{ queue: s.queueName, id: s.key },
      detail: told({ tick_at: s.tickAt, jobs: ahead }),
      rows: sql`from ${db.schedules} as ${s} where ${s.tickAt} is not null and ${ahead} > 1`,
    };
  }),
  invariant('tick-past-end', (db) => {
    const s = alias(db.schedules, 's');
    return {
      ...{ queue: s.queueName, id: s.key },
      detail: told({ tick_at: s.tickAt, end_at: s.endAt, runs_left: s.runsLeft }),
      rows: sql`from ${db.schedules} as ${s} where ${s.tickAt} > ${s.endAt} or ${s.runsLeft} < 0`,
    };
  }),
  // A log that is no list counts for nothing: the limit would not hold.
  invariant('rate-limit-log-damaged', (db) => {
    const r = alias(db.rateLimits, 'r');
    return {
      ...{ queue: r.queueName, id: sql`''` },
      detail: told({ fetches: sql`left(${r.fetches}::text, 100)` }),
      rows: sql`from ${db.rateLimits} as ${r} where ${notAList(r.fetches)}`,
    };
  }),
  invariant('group-log-damaged', (db) => {
    const c = alias(db.groupCursors, 'c');
    return {
      ...{ queue: c.queueName, id: c.groupId },
      detail: told({ fetches: sql`left(${c.fetches}::text, 100)` }),
      rows: sql`from ${db.groupCursors} as ${c} where ${notAList(c.fetches)}`,
    };
  }),
  // The next bucket would be refused, and with it the end of a job be written twice.
  invariant('metrics-beyond-sequence', (db) => {
    const m = alias(db.metrics, 'm');
    return {
      ...{ queue: m.queueName, id: m.id },
      detail: told({ granularity: m.granularity, period_start: m.periodStart }),
      rows: sql`from ${db.metrics} as ${m} where ${m.id} > coalesce(pg_sequence_last_value(${db.metricsSequence}), 0)`,
    };
  }),
  invariant('metrics-impossible', (db) => {
    const m = alias(db.metrics, 'm');
    return {
      ...{ queue: m.queueName, id: m.id },
      detail: told({ completed: m.completedCount, failed: m.failedCount, min: m.minProcessMs, max: m.maxProcessMs }),
      rows: sql`from ${db.metrics} as ${m} where ${m.completedCount} < 0 or ${m.failedCount} < 0
        or ${m.minProcessMs} > ${m.maxProcessMs}`,
    };
  }),
] as const;

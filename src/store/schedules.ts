import type { Executor } from '../db/executor.js';
import type { Engine } from './engine.js';
import type { JobRecord, Saved } from './insert.js';

export interface Registration {
  readonly queueName: string;
  readonly key: string;
  readonly jobName: string;
  /** JSON text. */
  readonly data: string;
  /** JSON text. */
  readonly opts: string;
  readonly cron: string | null;
  readonly everyMs: number | null;
  readonly tz: string | null;
  /** Times are epoch ms. */
  readonly startAt: number | null;
  readonly endAt: number | null;
  readonly anchorAt: number;
  readonly firstTick: number;
  /** Repetitions after the first run; null: no limit. */
  readonly limit: number | null;
}

export interface StoredSchedule {
  readonly queueName: string;
  readonly key: string;
  readonly jobName: string;
  readonly data: string;
  readonly opts: string;
  readonly cron: string | null;
  readonly everyMs: number | null;
  readonly tz: string | null;
  readonly startAt: number | null;
  readonly endAt: number | null;
  readonly anchorAt: number;
  readonly tickAt: number | null;
  readonly runsLeft: number | null;
  readonly createdAt: number;
}

export async function registerSchedule(_e: Executor, _r: Registration, _record: JobRecord): Promise<Saved> {
  throw new Error('not yet');
}
export async function dueSchedules(_e: Executor, _q: string): Promise<{ schedules: StoredSchedule[]; now: number }> {
  throw new Error('not yet');
}
export async function advanceSchedule(
  _e: Executor,
  _s: StoredSchedule,
  _nextTickMs: number | null,
  _record: JobRecord | null,
): Promise<boolean> {
  throw new Error('not yet');
}
export async function removeSchedule(_e: Executor, _q: string, _key: string): Promise<boolean> {
  throw new Error('not yet');
}
export async function listSchedules(_e: Executor, _q: string): Promise<StoredSchedule[]> {
  throw new Error('not yet');
}
export async function tickSchedules(_engine: Engine, _queueName: string): Promise<number> {
  throw new Error('not yet');
}

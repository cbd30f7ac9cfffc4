import type { RepeatOptions } from '../job.js';
import { timeOf } from '../options/dates.js';
import { parseDelay } from '../options/duration.js';
import { hashPayload } from '../payload/hash.js';
import { nextCronTick } from './cron.js';

export { validateCron, validateTimezone } from './cron.js';

/** When a repeating job is due: one of `cron` and `everyMs`, within a window. Times are epoch ms. */
export interface Schedule {
  cron: string | null;
  everyMs: number | null;
  /** Of the cron expression; null is UTC. */
  tz: string | null;
  /** No tick before it. */
  startAt: number | null;
  /** No tick after it. */
  endAt: number | null;
}

/** The schedule that repeat options ask for. */
export function scheduleOf(repeat: RepeatOptions): Schedule {
  return {
    cron: repeat.cron ?? null,
    everyMs: repeat.every === undefined ? null : parseDelay(repeat.every, 'opts.repeat.every'),
    tz: repeat.tz ?? null,
    startAt: repeat.startDate === undefined ? null : timeOf(repeat.startDate, 'opts.repeat.startDate'),
    endAt: repeat.endDate === undefined ? null : timeOf(repeat.endDate, 'opts.repeat.endDate'),
  };
}

/**
 * Epoch ms of the first tick strictly after `after`; null when there is none, because the window has ended or the
 * expression matches no more. A tick at `startAt` or `endAt` itself counts.
 *
 * It depends on nothing but the schedule, so that neither slow handlers nor restarts shift the ticks.
 *
 * @param anchor where the intervals of `every` are counted from: the first tick; a later `startAt` takes its place
 */
export function nextTick(schedule: Schedule, after: number, anchor: number): number | null {
  const { cron, everyMs, tz, startAt, endAt } = schedule;
  let tick: number | null = null;
  if (cron !== null) tick = nextCronTick(cron, tz, startAt === null ? after : Math.max(after, startAt - 1));
  else if (everyMs !== null) tick = nextInterval(everyMs, after, startAt === null ? anchor : Math.max(anchor, startAt));
  return tick === null || (endAt !== null && tick > endAt) ? null : tick;
}

function nextInterval(everyMs: number, after: number, anchor: number): number {
  if (after < anchor) return anchor;
  return anchor + (Math.floor((after - anchor) / everyMs) + 1) * everyMs;
}

/**
 * Epoch ms of a new schedule's first tick: for `every`, now or at `startDate` if that is later; for `cron`, the first
 * match from `startDate` on, or after now. Null when the window has ended or the expression matches no more.
 */
export function firstTick(repeat: RepeatOptions, now: number): number | null {
  const schedule = scheduleOf(repeat);
  if (schedule.everyMs !== null) return nextTick(schedule, now - 1, now);
  const startsLater = schedule.startAt !== null && schedule.startAt >= now;
  return nextTick(schedule, startsLater ? schedule.startAt! - 1 : now, now);
}

/**
 * What makes two registrations the same schedule of a queue: the caller's `repeat.key`, else the job's name, the
 * interval or expression with its time zone, and the data. The window and the limit do not count: a deploy may change
 * them, and a `startDate` is often computed anew each time.
 *
 * @throws InvalidPayloadError for data that cannot be stored
 */
export function scheduleKey(name: string, repeat: RepeatOptions, data: unknown): string {
  if (repeat.key !== undefined) return repeat.key;
  const { cron, everyMs, tz } = scheduleOf(repeat);
  const when = cron === null ? everyMs : cron.trim().split(/\s+/).join(' ');
  // `every` has no time zone, so a stray one makes no difference.
  const zone = cron === null ? null : (tz ?? 'UTC');
  return `auto:${hashPayload([name, when, zone, hashPayload(data)])}`;
}

import { nextTick, type Schedule } from '../../src/model/schedule/schedule.js';

export function at(text: string): number {
  return Date.parse(text);
}

export function iso(tick: number | null): string | null {
  return tick === null ? null : new Date(tick).toISOString();
}

export function cron(expr: string, more: Partial<Schedule> = {}): Schedule {
  return { cron: expr, everyMs: null, tz: null, startAt: null, endAt: null, ...more };
}

/** The first `count` ticks after a time; fewer when there are no more. */
export function ticks(schedule: Schedule, after: string, count: number): string[] {
  const found: string[] = [];
  let tick: number | null = at(after);
  while (found.length < count) {
    tick = nextTick(schedule, tick, 0);
    if (tick === null) break;
    found.push(new Date(tick).toISOString());
  }
  return found;
}

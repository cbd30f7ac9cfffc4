import { describe, expect, it } from 'vitest';
import {
  firstTick,
  nextTick,
  type Schedule,
  scheduleKey,
  validateCron,
  validateTimezone,
} from '../../src/model/schedule/schedule.js';
import { at, cron, iso, ticks } from './ticks.js';

const HOUR = 3_600_000;
const every = (everyMs: number, more: Partial<Schedule> = {}): Schedule => ({
  cron: null,
  everyMs,
  tz: null,
  startAt: null,
  endAt: null,
  ...more,
});

describe('every', () => {
  it('ticks at the anchor and whole intervals after it', () => {
    expect(nextTick(every(100), 999, 1000)).toBe(1000);
    expect(nextTick(every(100), 1000, 1000)).toBe(1100);
    expect(nextTick(every(100), 1099, 1000)).toBe(1100);
    expect(nextTick(every(100), 1100, 1000)).toBe(1200);
    expect(nextTick(every(100), -5, 1000)).toBe(1000);
  });

  it('does not drift, however late or long it is asked', () => {
    const anchor = at('2024-01-01T00:00:00.123Z');
    let tick = anchor;
    for (let i = 1; i <= 1000; i++) {
      tick = nextTick(every(HOUR), tick + ((i * 7919) % HOUR), anchor)!;
      expect(tick).toBe(anchor + i * HOUR);
    }
    expect(nextTick(every(1), 8e15 + 1, 3)).toBe(8e15 + 2);
    expect((nextTick(every(7), 8e15, 3)! - 3) % 7).toBe(0);
  });

  it('is anchored at a startAt that is later, and counts a tick at the ends of the window', () => {
    const window = every(100, { startAt: 5000, endAt: 5200 });
    expect(nextTick(window, 0, 1050)).toBe(5000);
    expect(nextTick(window, 4999, 1050)).toBe(5000);
    expect(nextTick(window, 5000, 1050)).toBe(5100);
    expect(nextTick(window, 5100, 1050)).toBe(5200);
    expect(nextTick(window, 5200, 1050)).toBeNull();
    expect(nextTick(every(100, { startAt: 500 }), 1100, 1050)).toBe(1150);
  });
});

describe('cron', () => {
  it('takes 5, 6 and 7 fields', () => {
    expect(ticks(cron('*/20 * * * *'), '2024-05-01T10:05:00Z', 3)).toEqual([
      '2024-05-01T10:20:00.000Z',
      '2024-05-01T10:40:00.000Z',
      '2024-05-01T11:00:00.000Z',
    ]);
    expect(ticks(cron('15 30 6 * * *'), '2024-05-01T10:05:00Z', 1)).toEqual(['2024-05-02T06:30:15.000Z']);
    expect(ticks(cron('0 0 0 1 1 * 2030-2031'), '2024-05-01T10:05:00Z', 3)).toEqual([
      '2030-01-01T00:00:00.000Z',
      '2031-01-01T00:00:00.000Z',
    ]);
  });

  it('answers strictly after, also between whole seconds', () => {
    const daily = cron('0 0 * * *');
    const midnight = at('2024-05-02T00:00:00Z');
    expect(nextTick(daily, midnight - 1, 0)).toBe(midnight);
    expect(nextTick(daily, midnight, 0)).toBe(midnight + 24 * HOUR);
    expect(nextTick(daily, midnight + 1, 0)).toBe(midnight + 24 * HOUR);
    expect(nextTick(cron('* * * * * *'), midnight + 999, 0)).toBe(midnight + 1000);
  });

  it('keeps to its window, ends included', () => {
    const window = cron('0 12 * * *', { startAt: at('2024-05-10T12:00:00Z'), endAt: at('2024-05-12T12:00:00Z') });
    expect(ticks(window, '2024-01-01T00:00:00Z', 9)).toEqual([
      '2024-05-10T12:00:00.000Z',
      '2024-05-11T12:00:00.000Z',
      '2024-05-12T12:00:00.000Z',
    ]);
    const later = { ...window, startAt: at('2024-05-10T12:00:00.001Z') };
    expect(iso(nextTick(later, 0, 0))).toBe('2024-05-11T12:00:00.000Z');
  });

  it('knows leap days, month ends, weekdays and years', () => {
    expect(ticks(cron('0 0 29 2 *'), '2023-01-01T00:00:00Z', 3)).toEqual([
      '2024-02-29T00:00:00.000Z',
      '2028-02-29T00:00:00.000Z',
      '2032-02-29T00:00:00.000Z',
    ]);
    // 2100 is no leap year.
    expect(ticks(cron('0 0 29 2 *'), '2096-03-01T00:00:00Z', 1)).toEqual(['2104-02-29T00:00:00.000Z']);
    expect(ticks(cron('0 0 31 * *'), '2024-01-31T00:00:00Z', 3)).toEqual([
      '2024-03-31T00:00:00.000Z',
      '2024-05-31T00:00:00.000Z',
      '2024-07-31T00:00:00.000Z',
    ]);
    expect(ticks(cron('0 0 L * *'), '2024-01-31T00:00:00Z', 3)).toEqual([
      '2024-02-29T00:00:00.000Z',
      '2024-03-31T00:00:00.000Z',
      '2024-04-30T00:00:00.000Z',
    ]);
    expect(ticks(cron('30 8 * * MON-FRI'), '2024-05-03T08:30:00Z', 2)).toEqual([
      '2024-05-06T08:30:00.000Z',
      '2024-05-07T08:30:00.000Z',
    ]);
    expect(ticks(cron('0 0 1 1 *'), '2024-01-01T00:00:00Z', 2)).toEqual([
      '2025-01-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z',
    ]);
    expect(ticks(cron('@monthly'), '2024-01-15T00:00:00Z', 1)).toEqual(['2024-02-01T00:00:00.000Z']);
  });

  it('takes day of month or day of week when both are given', () => {
    // Friday 2024-09-13 is both; else the 13th, or any Friday.
    expect(ticks(cron('0 0 13 * 5'), '2024-10-05T00:00:00Z', 3)).toEqual([
      '2024-10-11T00:00:00.000Z',
      '2024-10-13T00:00:00.000Z',
      '2024-10-18T00:00:00.000Z',
    ]);
  });

  it('ends when the expression matches no more', () => {
    expect(nextTick(cron('0 0 0 1 1 * 2020'), at('2020-01-01T00:00:00Z'), 0)).toBeNull();
  });
});

describe('firstTick', () => {
  const now = at('2024-05-01T10:05:00Z');

  it('every: now, or at a later startDate', () => {
    expect(firstTick({ every: '1h' }, now)).toBe(now);
    expect(firstTick({ every: '1h', startDate: now - 5 }, now)).toBe(now);
    expect(firstTick({ every: '1h', startDate: new Date(now + 5) }, now)).toBe(now + 5);
    expect(firstTick({ every: '1h', endDate: now }, now)).toBe(now);
    expect(firstTick({ every: '1h', endDate: now - 1 }, now)).toBeNull();
  });

  it('cron: at a tick only', () => {
    expect(iso(firstTick({ cron: '0 0 1 1 *' }, now))).toBe('2025-01-01T00:00:00.000Z');
    expect(iso(firstTick({ cron: '5 10 * * *' }, now))).toBe('2024-05-02T10:05:00.000Z');
    expect(iso(firstTick({ cron: '5 10 * * *', startDate: now }, now))).toBe('2024-05-01T10:05:00.000Z');
    expect(iso(firstTick({ cron: '0 * * * *', startDate: '2024-06-01T00:00:00Z' }, now))).toBe(
      '2024-06-01T00:00:00.000Z',
    );
    expect(iso(firstTick({ cron: '0 9 * * *', tz: 'Asia/Tokyo' }, now))).toBe('2024-05-02T00:00:00.000Z');
    expect(firstTick({ cron: '0 * * * *', endDate: '2024-05-01T10:59:59.999Z' }, now)).toBeNull();
    expect(firstTick({ cron: '0 0 0 1 1 * 2020' }, now)).toBeNull();
  });
});

describe('scheduleKey', () => {
  it('is the same for the same name, schedule and data', () => {
    const key = scheduleKey('report', { every: '1m' }, { a: 1, b: 2 });
    expect(key.length).toBeLessThanOrEqual(255);
    expect(scheduleKey('report', { every: 60_000 }, { b: 2, a: 1 })).toBe(key);
    expect(scheduleKey('report', { every: 60_000, limit: 5, startDate: 5, endDate: 9 }, { b: 2, a: 1 })).toBe(key);
    expect(scheduleKey('report', { cron: '0  9 * * *' }, 1)).toBe(
      scheduleKey('report', { cron: '0 9 * * *', tz: 'UTC' }, 1),
    );
  });

  it('differs when any of them differs', () => {
    const keys = [
      scheduleKey('a', { every: 5 }, 1),
      scheduleKey('b', { every: 5 }, 1),
      scheduleKey('a', { every: 6 }, 1),
      scheduleKey('a', { every: 5 }, 2),
      scheduleKey('a', { every: 5 }, undefined),
      scheduleKey('a', { cron: '0 9 * * *' }, 1),
      scheduleKey('a', { cron: '0 8 * * *' }, 1),
      scheduleKey('a', { cron: '0 9 * * *', tz: 'Asia/Tokyo' }, 1),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('is the caller’s when there is one', () => {
    expect(scheduleKey('a', { every: 5, key: 'mine' }, 1)).toBe('mine');
  });
});

describe('validateTimezone', () => {
  it.each(['UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'europe/berlin'])(
    'takes %s as it is',
    (tz) => expect(validateTimezone(tz)).toBe(tz),
  );

  it.each(['', ' ', 'Mars/Olympus', '+02:00', '-5', 'Europe', 'local', 'UTC\0', 'Europe/Berlin '])(
    'refuses %j',
    (tz) => {
      expect(() => validateTimezone(tz)).toThrow(RangeError);
      expect(() => validateTimezone(tz)).toThrow(/IANA time zone such as/);
    },
  );

  it('guesses', () => {
    expect(() => validateTimezone('Europe/Berln')).toThrow("Did you mean 'Europe/Berlin'?");
    expect(() => validateTimezone('America/NewYork')).toThrow("Did you mean 'America/New_York'?");
    expect(() => validateTimezone(5 as never)).toThrow(TypeError);
  });
});

describe('validateCron', () => {
  it.each(['* * * * *', '*/5 * * * *', ' 0 9 * * 1-5 ', '0 0 9 * * *', '0 0 9 1 JAN ? 2099', '0 0 L * *', '@daily'])(
    'takes %j as it is',
    (expr) => expect(validateCron(expr)).toBe(expr),
  );

  it.each(['', ' ', '* * * *', '* * * * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8'])(
    'refuses %j',
    (expr) => expect(() => validateCron(expr)).toThrow(RangeError),
  );

  it.each([
    'nonsense',
    'a b c d e',
    '*/0 * * * *',
    '5-1 * * * *',
    '@reboot',
    '@every 5m',
    '2024-01-01T00:00:00',
    '1,,2 * * * *',
  ])('refuses %j', (expr) => {
    expect(() => validateCron(expr)).toThrow(RangeError);
    expect(() => validateCron(expr)).toThrow(
      `cron is ${JSON.stringify(expr)}; it must be a cron expression of 5, 6 or 7`,
    );
  });

  it('refuses what no date ever matches', () => {
    expect(() => validateCron('0 0 30 2 *')).toThrow(/no date since 1970 matches/);
    expect(() => validateCron('0 0 31 4,6 *')).toThrow(RangeError);
  });

  it('refuses a bad zone and what is not a string', () => {
    expect(() => validateCron('* * * * *', 'Nowhere/There')).toThrow(/time zone is "Nowhere\/There"/);
    expect(() => validateCron(5 as never)).toThrow(TypeError);
  });
});

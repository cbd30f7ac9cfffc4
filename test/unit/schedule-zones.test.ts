import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextTick } from '../../src/model/schedule/schedule.js';
import { at, cron, iso, ticks } from './ticks.js';

const MINUTE = 60_000;

/** Minutes ahead of UTC in January and in July 2024. */
const ZONES: [tz: string, january: number, july: number][] = [
  ['UTC', 0, 0],
  ['Europe/London', 0, 60],
  ['Europe/Berlin', 60, 120],
  ['Europe/Athens', 120, 180],
  ['Europe/Moscow', 180, 180],
  ['Africa/Johannesburg', 120, 120],
  ['Asia/Dubai', 240, 240],
  ['Asia/Karachi', 300, 300],
  ['Asia/Kolkata', 330, 330],
  ['Asia/Kathmandu', 345, 345],
  ['Asia/Shanghai', 480, 480],
  ['Asia/Tokyo', 540, 540],
  ['Australia/Adelaide', 630, 570],
  ['Australia/Sydney', 660, 600],
  ['Australia/Lord_Howe', 660, 630],
  ['Pacific/Auckland', 780, 720],
  ['Pacific/Chatham', 825, 765],
  ['Pacific/Apia', 780, 780],
  ['Pacific/Kiritimati', 840, 840],
  ['America/St_Johns', -210, -150],
  ['America/New_York', -300, -240],
  ['America/Chicago', -360, -300],
  ['America/Phoenix', -420, -420],
  ['America/Los_Angeles', -480, -420],
  ['America/Sao_Paulo', -180, -180],
  ['America/Santiago', -180, -240],
  ['Pacific/Honolulu', -600, -600],
];

describe('time zones', () => {
  it.each(ZONES)('09:30 in %s', (tz, january, july) => {
    for (const [day, offset] of [
      ['2024-01-15', january],
      ['2024-07-15', july],
    ] as const) {
      const expected = at(`${day}T09:30:00Z`) - offset * MINUTE;
      expect(iso(nextTick(cron('30 9 * * *', { tz }), expected - 1, 0))).toBe(iso(expected));
      expect(iso(nextTick(cron('30 9 * * *', { tz }), expected - 24 * 60 * MINUTE, 0))).toBe(iso(expected));
    }
  });

  it('is the next time that the local clock shows, whatever the day', () => {
    // From 04:00 on, no zone of the list changes its clocks, so one time of day is one tick a day.
    const times = fc.record({
      zone: fc.constantFrom(...ZONES),
      hour: fc.integer({ min: 4, max: 22 }),
      minute: fc.integer({ min: 0, max: 59 }),
      after: fc.integer({ min: at('2023-01-01T00:00:00Z'), max: at('2026-01-01T00:00:00Z') }),
    });
    fc.assert(
      fc.property(times, ({ zone: [tz], hour, minute, after }) => {
        const tick = nextTick(cron(`${minute} ${hour} * * *`, { tz }), after, 0)!;
        expect(tick).toBeGreaterThan(after);
        expect(tick - after).toBeLessThanOrEqual(25 * 60 * MINUTE);
        const clock = new Intl.DateTimeFormat('en-GB', { timeZone: tz, timeStyle: 'medium' }).format(tick);
        expect(clock).toBe(`${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}:00`);
      }),
    );
  });
});

describe('clocks go forward', () => {
  it('Berlin, 2024-03-31, 02:00 to 03:00: a time in the gap runs right after it, once', () => {
    expect(ticks(cron('30 2 * * *', { tz: 'Europe/Berlin' }), '2024-03-30T00:00:00Z', 3)).toEqual([
      '2024-03-30T01:30:00.000Z',
      '2024-03-31T01:00:00.000Z',
      '2024-04-01T00:30:00.000Z',
    ]);
  });

  it('New York, 2024-03-10', () => {
    expect(ticks(cron('30 2 * * *', { tz: 'America/New_York' }), '2024-03-09T08:00:00Z', 2)).toEqual([
      '2024-03-10T07:00:00.000Z',
      '2024-03-11T06:30:00.000Z',
    ]);
  });

  it('Sydney, 2024-10-06', () => {
    expect(ticks(cron('0 3 * * *', { tz: 'Australia/Sydney' }), '2024-10-04T20:00:00Z', 2)).toEqual([
      '2024-10-05T16:00:00.000Z',
      '2024-10-06T16:00:00.000Z',
    ]);
  });

  it('an interval goes on evenly, and has no ticks in the hour that does not exist', () => {
    expect(ticks(cron('*/30 * * * *', { tz: 'Europe/Berlin' }), '2024-03-31T00:00:00Z', 4)).toEqual([
      '2024-03-31T00:30:00.000Z',
      '2024-03-31T01:00:00.000Z',
      '2024-03-31T01:30:00.000Z',
      '2024-03-31T02:00:00.000Z',
    ]);
  });
});

describe('clocks go back', () => {
  it('Berlin, 2024-10-27, 03:00 to 02:00: a time that comes twice runs the first time only', () => {
    expect(ticks(cron('30 2 * * *', { tz: 'Europe/Berlin' }), '2024-10-26T00:00:00Z', 3)).toEqual([
      '2024-10-26T00:30:00.000Z',
      '2024-10-27T00:30:00.000Z',
      '2024-10-28T01:30:00.000Z',
    ]);
  });

  it('New York, 2024-11-03', () => {
    expect(ticks(cron('30 1 * * *', { tz: 'America/New_York' }), '2024-11-02T06:00:00Z', 2)).toEqual([
      '2024-11-03T05:30:00.000Z',
      '2024-11-04T06:30:00.000Z',
    ]);
  });

  it('Lord Howe, 2024-04-07, by half an hour', () => {
    expect(ticks(cron('45 1 * * *', { tz: 'Australia/Lord_Howe' }), '2024-04-06T00:00:00Z', 2)).toEqual([
      '2024-04-06T14:45:00.000Z',
      '2024-04-07T15:15:00.000Z',
    ]);
  });

  it('an interval goes on through both passes of the hour', () => {
    expect(ticks(cron('0 * * * *', { tz: 'Europe/Berlin' }), '2024-10-26T23:00:00Z', 4)).toEqual([
      '2024-10-27T00:00:00.000Z',
      '2024-10-27T01:00:00.000Z',
      '2024-10-27T02:00:00.000Z',
      '2024-10-27T03:00:00.000Z',
    ]);
  });
});

it('a list of times is neither lost nor doubled', () => {
  const twice = cron('30 2,14 * * *', { tz: 'Europe/Berlin' });
  expect(ticks(twice, '2024-03-30T23:00:00Z', 2)).toEqual(['2024-03-31T01:00:00.000Z', '2024-03-31T12:30:00.000Z']);
  expect(ticks(twice, '2024-10-26T22:00:00Z', 2)).toEqual(['2024-10-27T00:30:00.000Z', '2024-10-27T13:30:00.000Z']);
});

it('midnight that does not exist (Santiago, 2024-09-08) runs at 01:00', () => {
  expect(ticks(cron('0 0 * * *', { tz: 'America/Santiago' }), '2024-09-07T05:00:00Z', 2)).toEqual([
    '2024-09-08T04:00:00.000Z',
    '2024-09-09T03:00:00.000Z',
  ]);
});

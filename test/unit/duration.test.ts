import { describe, expect, it } from 'vitest';
import { MAX_DURATION_MS, parseDelay, withoutIn } from '../../src/model/options/duration.js';

it('withoutIn takes a leading "in " away, and nothing else', () => {
  const values = ['in 5 minutes', ' In  2h', 'in a while', 'in5s', 'min 5s', '5s', 7];
  expect(values.map(withoutIn)).toEqual(['5 minutes', '2h', 'in a while', 'in5s', 'min 5s', '5s', 7]);
});

describe('parseDelay', () => {
  it.each([
    [0, 0],
    [-0, 0],
    [1500, 1500],
    [2.6, 3],
    ['500ms', 500],
    ['1 millisecond', 1],
    ['250 milliseconds', 250],
    ['5s', 5000],
    ['5 s', 5000],
    ['1 second', 1000],
    ['30 seconds', 30_000],
    ['2m', 120_000],
    ['1 minute', 60_000],
    ['10 minutes', 600_000],
    ['2h', 7_200_000],
    ['1 hour', 3_600_000],
    ['3 hours', 10_800_000],
    ['1d', 86_400_000],
    ['1 day', 86_400_000],
    ['2 days', 172_800_000],
    ['1w', 604_800_000],
    ['1 week', 604_800_000],
    ['2 weeks', 1_209_600_000],
    ['1.5h', 5_400_000],
    ['0.1s', 100],
    ['0s', 0],
    ['10 MINUTES', 600_000],
    ['5S', 5000],
    ['  7 s ', 7000],
  ])('%j is %d ms', (value, ms) => {
    expect(Object.is(parseDelay(value), ms)).toBe(true);
  });

  it.each([
    '',
    ' ',
    '5',
    's',
    '-5s',
    '+5s',
    '5 s s',
    '5 fortnights',
    '1h 30m',
    '1e3s',
    '.5s',
    '5.s',
    'in',
    'in 5 minutes',
    'in5s',
    'tomorrow',
    '5constructor',
    '5s\0',
  ])('refuses %j and shows the accepted forms', (value) => {
    expect(() => parseDelay(value, 'opts.delay')).toThrow(RangeError);
    expect(() => parseDelay(value, 'opts.delay')).toThrow(`opts.delay is ${JSON.stringify(value)}`);
    expect(() => parseDelay(value)).toThrow(/'500ms', '5s', '10 minutes'/);
  });

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e18])('refuses %d', (value) => {
    expect(() => parseDelay(value)).toThrow(RangeError);
  });

  it.each([null, undefined, true, {}, [5], 5n, new Date()])(
    'refuses what is neither number nor string: %s',
    (value) => {
      expect(() => parseDelay(value as never)).toThrow(TypeError);
    },
  );

  it('takes up to 100 years', () => {
    expect(parseDelay(MAX_DURATION_MS)).toBe(MAX_DURATION_MS);
    expect(() => parseDelay(MAX_DURATION_MS + 1)).toThrow(RangeError);
    expect(() => parseDelay('5300 weeks')).toThrow(RangeError);
  });

  it('is quick on a long bad text', () => {
    const started = performance.now();
    expect(() => parseDelay(`${'1'.repeat(200_000)}${' '.repeat(200_000)}!`)).toThrow(RangeError);
    expect(performance.now() - started).toBeLessThan(500);
  });
});

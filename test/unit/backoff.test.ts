import { describe, expect, it } from 'vitest';
import { calculateBackoff } from '../../src/model/retry.js';

const DAY = 86_400_000;
const low = () => 0;
const middle = () => 0.5;
const high = () => 1 - Number.EPSILON;

describe('calculateBackoff', () => {
  it('is 0 without backoff', () => {
    expect(calculateBackoff(1, undefined)).toBe(0);
  });

  it.each([low, middle, high])('fixed stays exactly the same', (random) => {
    for (const attempt of [1, 2, 50]) {
      expect(calculateBackoff(attempt, { type: 'fixed', delay: 1000 }, random)).toBe(1000);
    }
    expect(calculateBackoff(1, { type: 'fixed', delay: '3 days' }, middle)).toBe(3 * DAY);
  });

  it('exponential doubles from delay', () => {
    const pauses = [1, 2, 3, 4, 5].map((n) => calculateBackoff(n, { type: 'exponential', delay: '1s' }, middle));
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000]);
  });

  it('exponential stops at 24 h, jitter included', () => {
    for (const attempt of [18, 31, 32, 1000, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
      expect(calculateBackoff(attempt, { type: 'exponential', delay: 1000 }, middle)).toBe(DAY);
      expect(calculateBackoff(attempt, { type: 'exponential', delay: 1000 }, high)).toBe(DAY);
      expect(calculateBackoff(attempt, { type: 'exponential', delay: 1 }, high)).toBeLessThanOrEqual(DAY);
    }
    expect(calculateBackoff(5000, { type: 'exponential', delay: 0 }, high)).toBe(0);
  });

  it('exponential varies by 25 % either way', () => {
    const type = 'exponential';
    expect(calculateBackoff(1, { type, delay: 1000 }, low)).toBe(750);
    expect(calculateBackoff(1, { type, delay: 1000 }, high)).toBe(1250);
    const pauses = new Set(Array.from({ length: 200 }, () => calculateBackoff(1, { type, delay: 100_000 })));
    expect(pauses.size).toBeGreaterThan(50);
    for (const pause of pauses) {
      expect(pause).toBeGreaterThanOrEqual(75_000);
      expect(pause).toBeLessThanOrEqual(125_000);
    }
  });

  it.each(['fixed', 'exponential', 'custom'] as const)('%s varies by the jitter it is given', (type) => {
    const pause = (jitter: number, random: () => number) =>
      calculateBackoff(
        1,
        { type, delay: 1000, jitter, ...(type === 'custom' && { customStrategy: () => 1000 }) },
        random,
      );
    expect([pause(0, low), pause(0, high)]).toEqual([1000, 1000]);
    expect([pause(0.1, low), pause(0.1, middle), pause(0.1, high)]).toEqual([900, 1000, 1100]);
    expect([pause(1, low), pause(1, high)]).toEqual([0, 2000]);
    for (const jitter of [-0.1, 1.1, Number.NaN, '0.5']) {
      expect(() => pause(jitter as number, low)).toThrow(/backoff\.jitter is .*a number from 0 to 1/);
    }
  });

  it('custom asks its function, and takes no nonsense from it', () => {
    const custom = (customStrategy: unknown) =>
      calculateBackoff(3, { type: 'custom', delay: 0, customStrategy } as never);
    expect(custom((n: number) => n * 10)).toBe(30);
    expect(custom(() => 1.4)).toBe(1);
    for (const answer of [-5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, undefined]) {
      expect(custom(() => answer)).toBe(0);
    }
    for (const missing of [undefined, 'stored as a text']) {
      expect(() => custom(missing)).toThrow(/customStrategy must be a function/);
    }
  });

  it('lets nothing escape from a promise that it does not await', async () => {
    const rejecting = async () => Promise.reject(new Error('not awaited'));
    expect(calculateBackoff(1, { type: 'custom', delay: 0, customStrategy: rejecting })).toBe(0);
    await new Promise((resolve) => setImmediate(resolve)); // vitest fails the run on an unhandled rejection
  });

  it('refuses attempts below 1 and a bad delay', () => {
    expect(() => calculateBackoff(0, undefined)).toThrow(RangeError);
    expect(() => calculateBackoff(1, { type: 'fixed', delay: 'soon' })).toThrow(
      /backoff\.delay is "soon".*backoff delay/,
    );
  });
});

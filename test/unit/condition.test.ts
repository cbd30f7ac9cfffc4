import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Condition } from '../../src/core/worker/condition.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What a promise has resolved to so far; undefined: it is pending. */
async function soFar<T>(promise: Promise<T>): Promise<T | undefined> {
  let value: T | undefined;
  promise.then((resolved) => {
    value = resolved;
  });
  await vi.advanceTimersByTimeAsync(0);
  return value;
}

describe('Condition', () => {
  it('is true at once when the predicate holds, without a timer', async () => {
    expect(await new Condition().until(() => true, 0)).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is true at the change that makes the predicate hold, for all who wait', async () => {
    const condition = new Condition();
    let count = 0;
    const waits = [1, 2].map((wanted) => condition.until(() => count >= wanted, 1_000));
    condition.changed();
    expect(await Promise.all(waits.map(soFar))).toEqual([undefined, undefined]);
    count = 1;
    condition.changed();
    expect(await Promise.all(waits.map(soFar))).toEqual([true, undefined]);
    count = 2;
    condition.changed();
    expect(await Promise.all(waits.map(soFar))).toEqual([true, true]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is false when the time is over, however many changes there were', async () => {
    const condition = new Condition();
    const wait = condition.until(() => false, 100);
    for (let i = 0; i < 9; i++) {
      await vi.advanceTimersByTimeAsync(11);
      condition.changed();
    }
    expect(await soFar(wait)).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(await soFar(wait)).toBe(false);
  });
});

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { settledWithin, withDeadline } from '../../src/db/deadline.js';
import { deferred } from '../support/until.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const expired = () => new Error('expired');

it('settles as the work does, and leaves no timer behind', async () => {
  expect(await withDeadline(Promise.resolve(1), 100, expired)).toBe(1);
  await expect(withDeadline(Promise.reject(new Error('failed')), 100, expired)).rejects.toThrow('failed');
  expect(vi.getTimerCount()).toBe(0);
});

it('rejects when the time has passed, not before', async () => {
  let error: unknown;
  const work = deferred();
  withDeadline(work.promise, 100, expired).catch((e: unknown) => {
    error = e;
  });
  await vi.advanceTimersByTimeAsync(99);
  expect(error).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(error).toEqual(new Error('expired'));
  // Would fail the test as an unhandled rejection.
  work.reject(new Error('too late'));
  await vi.advanceTimersByTimeAsync(0);
});

it('a limit that no timer takes does not expire at once', async () => {
  const work = deferred<number>();
  const result = withDeadline(work.promise, Number.MAX_SAFE_INTEGER, expired);
  await vi.advanceTimersByTimeAsync(1_000);
  work.resolve(1);
  expect(await result).toBe(1);
});

it('is extended after the process was blocked beyond it', async () => {
  const work = deferred<number>();
  const result = withDeadline(work.promise, 100, expired);
  const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 1_000);
  await vi.advanceTimersByTimeAsync(100);
  now.mockRestore();
  work.resolve(1);
  expect(await result).toBe(1);
});

it('settledWithin never rejects', async () => {
  await settledWithin(Promise.reject(new Error('failed')), 100);
  const waited = settledWithin(new Promise(() => {}), 100);
  await vi.advanceTimersByTimeAsync(100);
  await waited;
  expect(vi.getTimerCount()).toBe(0);
});

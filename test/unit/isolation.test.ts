import { expect, it } from 'vitest';
import { Capacity } from '../../src/core/worker/capacity.js';
import { Isolation } from '../../src/core/worker/isolation.js';

/** Two workers of one process, and how often each was told that jobs may start. */
function setUp() {
  const isolation = new Isolation();
  const resumed = [0, 0];
  const workers = resumed.map((_, i) => {
    const options = { concurrency: 2, maxGlobalConcurrency: undefined, limiter: undefined, batchSize: undefined };
    const resume = () => void resumed[i]!++;
    const capacity = new Capacity({ ...options, group: undefined }, () => 0, resume, isolation);
    capacity.join();
    return capacity;
  });
  const [one, other] = workers as [Capacity, Capacity];
  return { one, other, resumed };
}

it('while a job waits to be alone no other worker starts any, and it can start when nothing runs', () => {
  const { one, other, resumed } = setUp();
  const free = other.take(1);
  expect(one.reserve()).toBe(true);
  expect([one.free(), other.free(), one.processIdle]).toEqual([2, 0, false]);
  free();
  expect([resumed, one.processIdle]).toEqual([[1, 0], true]);
  const end = one.take(1, true);
  one.unreserve();
  expect([one.free(), other.free()]).toEqual([0, 0]);
  end();
  end();
  expect([one.free(), other.free(), resumed]).toEqual([2, 2, [2, 1]]);
});

it('nor does any other claim jobs ahead, which it could only give back', () => {
  const { one, other } = setUp();
  // A short job, so that the next ones are worth claiming ahead.
  other.take(1)();
  expect(other.prefetch()).toBeGreaterThan(0);
  one.reserve();
  expect(other.prefetch()).toBe(0);
  one.unreserve();
  expect(other.prefetch()).toBeGreaterThan(0);
});

it('of two that wait one is first', () => {
  const { one, other, resumed } = setUp();
  expect([one.reserve(), other.reserve(), other.reserve()]).toEqual([true, false, false]);
  one.unreserve();
  expect([other.reserve(), one.reserve(), resumed]).toEqual([true, false, [0, 1]]);
});

it('a worker that is closed holds up nobody, whatever its handlers do', () => {
  const { one, other, resumed } = setUp();
  const end = one.take(1, true);
  one.reserve();
  expect(other.free()).toBe(0);
  one.leave();
  expect([other.free(), other.processIdle, resumed[1]]).toEqual([2, true, 1]);
  end();
  expect(other.processIdle).toBe(true);
  const free = other.take(1);
  expect(other.processIdle).toBe(false);
  free();
});

it('a worker that runs one job at a time is alone only if it is the only one', () => {
  const isolation = new Isolation();
  const options = { concurrency: 1, maxGlobalConcurrency: undefined, limiter: undefined, batchSize: undefined };
  const [one, other] = [0, 1].map(
    () => new Capacity({ ...options, group: undefined }, () => 0, undefined, isolation),
  ) as [Capacity, Capacity];
  one.join();
  expect(one.single).toBe(true);
  other.join();
  expect(one.single).toBe(false);
  other.leave();
  expect(one.single).toBe(true);
});

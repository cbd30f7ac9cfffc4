import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Capacity, type CapacityOptions } from '../../src/core/worker/capacity.js';
import { PrefetchEstimate } from '../../src/core/worker/prefetch-estimate.js';

describe('PrefetchEstimate', () => {
  it('is none before the first job has ended', () => {
    expect(new PrefetchEstimate().jobs(10)).toBe(0);
  });

  it.each([
    [1, 1, 50],
    [1, 10, 500],
    [5, 2, 20],
    [10, 1, 5],
    [10.1, 100, 0],
    [0.01, 1, 500],
  ])('with jobs of %d ms and a concurrency of %d it is %d', (ms, concurrency, expected) => {
    const estimate = new PrefetchEstimate();
    estimate.record(ms);
    expect(estimate.jobs(concurrency)).toBe(expected);
  });

  it('follows the durations by a moving average', () => {
    const estimate = new PrefetchEstimate();
    estimate.record(1);
    estimate.record(50);
    // 1 + 10 % of 49
    expect(estimate.jobs(1)).toBe(Math.ceil(50 / 5.9));
    estimate.record(60);
    expect(estimate.jobs(1)).toBe(0);
  });

  it('prefetches nothing after an expiry, until short jobs have shown themselves again', () => {
    const estimate = new PrefetchEstimate();
    estimate.record(1);
    estimate.expired();
    let recorded = 0;
    while (estimate.jobs(1) === 0) {
      estimate.record(1);
      recorded++;
    }
    // 1 + 99 × 0.9^n ≤ 10
    expect(recorded).toBe(23);
  });
});

describe('Capacity', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const make = (options: Partial<CapacityOptions> = {}, unsettled = () => 0) =>
    new Capacity(
      {
        concurrency: 2,
        maxGlobalConcurrency: undefined,
        limiter: undefined,
        batchSize: undefined,
        group: undefined,
        ...options,
      },
      unsettled,
    );
  /** A job that takes 1 ms: 100 jobs are prefetched with a concurrency of 2. */
  const runOne = (capacity: Capacity, jobs = 1, ms = jobs) => {
    const free = capacity.take(jobs);
    vi.advanceTimersByTime(ms);
    free();
  };

  it('counts slots, in jobs', () => {
    const capacity = make({ batchSize: 5 });
    expect([capacity.free(), capacity.idle]).toEqual([10, true]);
    const free = capacity.take(3);
    expect([capacity.free(), capacity.idle]).toEqual([5, false]);
    free();
    expect([capacity.free(), capacity.idle]).toEqual([10, true]);
  });

  it('prefetches by how long one job of a batch takes', () => {
    const capacity = make({ batchSize: 5 });
    runOne(capacity, 5);
    expect(capacity.prefetch()).toBe(100);
  });

  const rate = { max: 1, duration: 1_000 };
  it.each<[string, Partial<CapacityOptions>, boolean, number]>([
    ['no limit', {}, false, 100],
    ['maxGlobalConcurrency', { maxGlobalConcurrency: 5 }, true, 0],
    ['limiter', { limiter: rate }, true, 0],
    ['groups', { group: { limiter: undefined } }, true, 4],
    ['groups with a limiter', { group: { limiter: rate } }, true, 0],
  ])('with %s', (_name, options, limited, prefetch) => {
    const capacity = make(options);
    runOne(capacity);
    expect([capacity.limited, capacity.prefetch()]).toEqual([limited, prefetch]);
  });

  it('prefetches nothing while very many attempts wait to be settled', () => {
    let unsettled = 5_000;
    const capacity = make({}, () => unsettled);
    runOne(capacity);
    expect(capacity.prefetch()).toBe(100);
    unsettled++;
    expect(capacity.prefetch()).toBe(0);
  });

  it('prefetches nothing after prefetched jobs found no slot', () => {
    const capacity = make();
    runOne(capacity);
    capacity.prefetchExpired();
    expect(capacity.prefetch()).toBe(0);
  });
});

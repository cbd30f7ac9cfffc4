import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CompletionTracker } from '../../src/core/job/completion-tracker.js';
import type { StoreEvent } from '../../src/model/event.js';
import { noopLogger } from '../../src/model/logger.js';
import type { JobKey, JobStatus } from '../../src/store/read/job-status.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const status = (state: JobStatus['state']): JobStatus => ({
  state,
  returnvalue: null,
  failedReason: null,
  cancelled: false,
  progress: 0,
  attemptsMade: 0,
});

function setUp(read: (keys: readonly JobKey[]) => Promise<JobStatus[]>) {
  const reads: string[][] = [];
  const callbacks = new Map<string, (event: StoreEvent) => void>();
  const tracker = new CompletionTracker({
    read: (keys) => {
      reads.push(keys.map(({ queueName, id }) => `${queueName}/${id}`));
      return read(keys);
    },
    subscribe: (queueName, callback) => {
      callbacks.set(queueName, callback);
      return () => void callbacks.delete(queueName);
    },
    logger: noopLogger,
  });
  const publish = (queueName: string, jobId: string, type: StoreEvent['type'], data?: unknown) =>
    callbacks.get(queueName)?.({ type, queueName, jobId, timestamp: 0, data } as unknown as StoreEvent);
  /** What an observer of a job receives. */
  const observe = (queueName: string, id: string) => {
    const received: string[] = [];
    const stop = tracker.observe(queueName, id, {
      event: ({ type }) => received.push(type),
      status: ({ state }) => received.push(state),
      closed: () => received.push('closed'),
    });
    return { received, stop };
  };
  return { tracker, reads, callbacks, publish, observe };
}

const waiting = async (keys: readonly JobKey[]) => keys.map(() => status('waiting'));
const missing = async (keys: readonly JobKey[]) => keys.map(() => status('missing'));

describe('reads', () => {
  it('all awaited jobs at once, and again every second, in one statement', async () => {
    const { reads, observe } = setUp(waiting);
    const observers = [observe('q', 'a'), observe('q', 'b'), observe('other', 'a')];
    await vi.advanceTimersByTimeAsync(1);
    expect(reads).toEqual([['q/a', 'q/b', 'other/a']]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(reads).toHaveLength(3);
    expect(observers.map(({ received }) => received)).toEqual(Array(3).fill(['waiting', 'waiting', 'waiting']));
  });

  it('nothing more when nobody observes any more', async () => {
    const { reads, observe } = setUp(waiting);
    const { stop } = observe('q', 'a');
    await vi.advanceTimersByTimeAsync(1);
    stop();
    stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(reads).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('once more after an event that came while it was read, because what was read may be older', async () => {
    const { publish, reads, observe } = setUp(async (keys) => {
      if (reads.length === 1) publish('q', 'a', 'job:progress');
      return waiting(keys);
    });
    const { received } = observe('q', 'a');
    await vi.advanceTimersByTimeAsync(1);
    expect(received).toEqual(['job:progress']);
    await vi.advanceTimersByTimeAsync(500);
    expect(received).toEqual(['job:progress', 'waiting']);
    expect(reads).toHaveLength(2);
  });

  it('a job once at a time, however long that takes', async () => {
    const { reads, observe } = setUp(() => new Promise(() => {}));
    observe('q', 'a');
    await vi.advanceTimersByTimeAsync(5_000);
    expect(reads).toHaveLength(1);
  });

  it('again after a read that failed', async () => {
    let failing = true;
    const { observe } = setUp((keys) => (failing ? Promise.reject(new Error('refused')) : waiting(keys)));
    const { received } = observe('q', 'a');
    await vi.advanceTimersByTimeAsync(1);
    failing = false;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(received).toEqual(['waiting']);
  });

  it('all of them at once when LISTEN was interrupted', async () => {
    const { tracker, reads, observe } = setUp(waiting);
    observe('q', 'a');
    await vi.advanceTimersByTimeAsync(1);
    tracker.rereadAll();
    await vi.advanceTimersByTimeAsync(1);
    expect(reads).toHaveLength(2);
  });
});

describe('events', () => {
  it('reach the observers of their job', async () => {
    const { publish, observe } = setUp(() => new Promise(() => {}));
    const [a, b, same] = [observe('q', 'a'), observe('q', 'b'), observe('q', 'a')];
    publish('q', 'a', 'job:active');
    publish('q', 'b', 'job:completed', 1);
    expect([a.received, b.received, same.received]).toEqual([['job:active'], ['job:completed'], ['job:active']]);
  });

  it('are subscribed to once per queue, and for 10 s after the last observer', async () => {
    const { callbacks, observe } = setUp(waiting);
    const [first, second] = [observe('q', 'a'), observe('q', 'b')];
    first.stop();
    await vi.advanceTimersByTimeAsync(20_000);
    second.stop();
    await vi.advanceTimersByTimeAsync(9_999);
    expect([...callbacks.keys()]).toEqual(['q']);
    const third = observe('q', 'c');
    await vi.advanceTimersByTimeAsync(20_000);
    expect([...callbacks.keys()]).toEqual(['q']);
    third.stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect([...callbacks.keys()]).toEqual([]);
  });
});

describe('a job whose row is gone', () => {
  it('has the end that its event said, even before it was observed', async () => {
    const { publish, observe } = setUp(missing);
    observe('q', 'another');
    publish('q', 'a', 'job:completed', 1);
    const { received } = observe('q', 'a');
    await vi.advanceTimersByTimeAsync(1);
    expect(received).toEqual(['job:completed']);
  });

  it('is missing when no event has come within 250 ms', async () => {
    const { observe } = setUp(missing);
    const { received } = observe('q', 'a');
    await vi.advanceTimersByTimeAsync(249);
    expect(received).toEqual([]);
    await vi.advanceTimersByTimeAsync(10);
    expect(received).toEqual(['missing']);
  });
});

it('tells all observers that the store is closed, and ends every timer and subscription', async () => {
  const { tracker, callbacks, observe } = setUp(waiting);
  const [a, b] = [observe('q', 'a'), observe('other', 'b')];
  b.stop();
  await vi.advanceTimersByTimeAsync(1);
  tracker.close();
  expect(a.received).toEqual(['waiting', 'closed']);
  expect(b.received).toEqual([]);
  expect([callbacks.size, vi.getTimerCount()]).toEqual([0, 0]);
});

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ClaimedJobs, Fetcher } from '../../src/core/worker/fetcher.js';
import type { LeasedJob } from '../../src/core/worker/leased-job.js';
import { ClosedError } from '../../src/model/errors.js';

beforeEach(() => {
  vi.useFakeTimers();
  // The jitter of pauses: in the middle.
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

let ids = 0;
const job = (alone = false, payloadLength = 10) =>
  ({ alone, stored: { payloadLength }, id: ids++ }) as unknown as LeasedJob & { alone: boolean };
const jobs = (count: number) => Array.from({ length: count }, () => job());
const claimed = (list: LeasedJob[], more: Partial<ClaimedJobs> = {}): ClaimedJobs => ({
  jobs: list,
  more: false,
  opensIn: null,
  ...more,
});

/** A fetcher over a queue of answers; each claim is answered by hand, or at once where answers are given. */
function setUp({ slots = 1, prefetch = 0 } = {}) {
  const claims: { limit: number; answer: (claim: ClaimedJobs) => Promise<void>; fail: (e: Error) => Promise<void> }[] =
    [];
  const started: LeasedJob[] = [];
  const released: LeasedJob[] = [];
  const postponed: LeasedJob[] = [];
  const delays: number[] = [];
  const errors: unknown[] = [];
  let running = 0;
  const settle = () => vi.advanceTimersByTimeAsync(0);
  const fetcher = new Fetcher({
    claim: (limit) =>
      new Promise((resolve, reject) => {
        claims.push({
          limit,
          answer: (claim) => {
            resolve(claim);
            return settle().then(() => {});
          },
          fail: (error) => {
            reject(error);
            return settle().then(() => {});
          },
        });
      }),
    start: (list) => {
      running += list.length;
      started.push(...list);
    },
    release: async (list) => void released.push(...list),
    free: () => ((started.at(-1) as { alone?: boolean } | undefined)?.alone ? 0 : slots - running),
    idle: () => running === 0,
    reserve: () => true,
    unreserve: () => {},
    mustBeAlone: (one) => (one as LeasedJob & { alone: boolean }).alone,
    postpone: async (one, delayMs) => {
      postponed.push(one);
      delays.push(delayMs);
    },
    prefetch: () => prefetch,
    failed: (error) => errors.push(error),
  });
  const finish = (count = 1) => {
    running -= count;
    fetcher.pump();
  };
  return { fetcher, claims, started, released, postponed, delays, errors, finish };
}

describe('when and how much it claims', () => {
  it('claims for the free slots and the jobs to prefetch, and starts what came', async () => {
    const { fetcher, claims, started } = setUp({ slots: 3, prefetch: 4 });
    fetcher.start();
    expect(claims.map(({ limit }) => limit)).toEqual([7]);
    const list = jobs(5);
    await claims[0]!.answer(claimed(list));
    expect(started).toEqual(list.slice(0, 3));
  });

  it('makes one claim at a time', async () => {
    const { fetcher, claims } = setUp();
    fetcher.start();
    fetcher.wake();
    fetcher.wake();
    expect(claims).toHaveLength(1);
    expect(fetcher.claiming).toBe(true);
    await claims[0]!.answer(claimed([]));
    // Woken meanwhile, it claims once more.
    expect(claims).toHaveLength(2);
  });

  it('an answer that is short means that the queue is empty, until it is woken', async () => {
    const { fetcher, claims, finish } = setUp({ slots: 2 });
    fetcher.start();
    await claims[0]!.answer(claimed(jobs(1)));
    finish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(claims).toHaveLength(1);
    fetcher.wake();
    expect(claims.map(({ limit }) => limit)).toEqual([2, 2]);
  });

  it('a full answer means that there may be more, as soon as a slot is free', async () => {
    const { fetcher, claims, finish } = setUp();
    fetcher.start();
    await claims[0]!.answer(claimed(jobs(1)));
    expect(claims).toHaveLength(1);
    finish();
    expect(claims).toHaveLength(2);
  });

  it('with busy slots it claims again when half of the prefetched jobs are started', async () => {
    const { fetcher, claims, finish } = setUp({ slots: 1, prefetch: 4 });
    fetcher.start();
    await claims[0]!.answer(claimed(jobs(5)));
    finish();
    expect(claims).toHaveLength(1);
    finish();
    expect(claims.map(({ limit }) => limit)).toEqual([5, 2]);
  });

  it('claims again when a rate limit opens', async () => {
    const { fetcher, claims } = setUp();
    fetcher.start();
    await claims[0]!.answer(claimed([], { opensIn: 700 }));
    await vi.advanceTimersByTimeAsync(699);
    expect(claims).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(claims).toHaveLength(2);
  });

  it('claims again after a moment where an open transaction holds the rows', async () => {
    const { fetcher, claims } = setUp();
    fetcher.start();
    await claims[0]!.answer(claimed([], { more: true }));
    await vi.advanceTimersByTimeAsync(149);
    expect(claims).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(claims).toHaveLength(2);
  });
});

describe('after failures', () => {
  it('waits twice as long after each, up to 5 s, and reports each', async () => {
    const { fetcher, claims, errors } = setUp();
    fetcher.start();
    for (const pause of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
      const made = claims.length;
      await claims[made - 1]!.fail(new Error('refused'));
      await vi.advanceTimersByTimeAsync(pause - 1);
      expect(claims).toHaveLength(made);
      await vi.advanceTimersByTimeAsync(1);
      expect(claims).toHaveLength(made + 1);
    }
    expect(errors).toHaveLength(8);
  });

  it('a wake-up cuts a long pause short, but not to nothing', async () => {
    const { fetcher, claims } = setUp();
    fetcher.start();
    for (let i = 0; i < 7; i++) {
      await claims.at(-1)!.fail(new Error('refused'));
      if (i < 6) await vi.advanceTimersByTimeAsync(5_000);
    }
    const made = claims.length;
    fetcher.wake();
    await vi.advanceTimersByTimeAsync(99);
    expect(claims).toHaveLength(made);
    await vi.advanceTimersByTimeAsync(1);
    expect(claims).toHaveLength(made + 1);
  });

  it('an answer ends the doubling', async () => {
    const { fetcher, claims } = setUp();
    fetcher.start();
    await claims[0]!.fail(new Error('refused'));
    await vi.advanceTimersByTimeAsync(100);
    await claims[1]!.answer(claimed([]));
    fetcher.wake();
    await claims[2]!.fail(new Error('refused'));
    await vi.advanceTimersByTimeAsync(100);
    expect(claims).toHaveLength(4);
  });

  it('a closed store is no failure to report', async () => {
    const { fetcher, claims, errors } = setUp();
    fetcher.start();
    await claims[0]!.fail(new ClosedError('The store'));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(errors).toEqual([]);
  });
});

describe('prefetched jobs', () => {
  it('are released when they find no slot within 250 ms', async () => {
    const { fetcher, claims, released } = setUp({ slots: 1, prefetch: 2 });
    const list = jobs(3);
    fetcher.start();
    await claims[0]!.answer(claimed(list));
    await vi.advanceTimersByTimeAsync(249);
    expect(released).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(released).toEqual(list.slice(1));
  });

  it('with large payloads: no more are claimed before they have started', async () => {
    const { fetcher, claims, finish } = setUp({ slots: 1, prefetch: 100 });
    fetcher.start();
    const large = [job(), job(false, 3_000_000), job(false, 3_000_000)];
    await claims[0]!.answer({ ...claimed(large), more: true });
    expect(claims).toHaveLength(1);
    finish();
    expect(claims).toHaveLength(2);
  });

  it('that must be alone start when nothing runs, and nothing else starts or is claimed before', async () => {
    const { fetcher, claims, started, finish } = setUp({ slots: 3, prefetch: 3 });
    const list = [job(), job(true), job()];
    fetcher.start();
    await claims[0]!.answer(claimed(list));
    fetcher.wake();
    expect(started).toEqual([list[0]]);
    expect(claims).toHaveLength(1);
    finish();
    expect(started).toEqual([list[0], list[1]]);
  });

  it('that must be alone wait longer than others, and are then put off', async () => {
    const { fetcher, claims, started, released, postponed } = setUp({ slots: 2, prefetch: 3 });
    const list = [job(), job(true), job()];
    fetcher.start();
    await claims[0]!.answer(claimed(list));
    await vi.advanceTimersByTimeAsync(500);
    expect(released).toEqual([list[2]]);
    expect(postponed).toEqual([]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(postponed).toEqual([list[1]]);
    expect(started).toEqual([list[0]]);
  });

  it('that must be alone wait twice as long each time, until what runs has ended', async () => {
    const { fetcher, claims, started, postponed, delays, finish } = setUp({ slots: 2 });
    const [first, second] = [job(), job(true)];
    fetcher.start();
    await claims[0]!.answer(claimed([first, second]));
    for (const hold of [60_000, 120_000, 240_000]) {
      const before = postponed.length;
      await vi.advanceTimersByTimeAsync(hold - 1);
      expect(postponed).toHaveLength(before);
      await vi.advanceTimersByTimeAsync(1);
      expect(postponed).toHaveLength(before + 1);
      expect(delays.at(-1)).toBe(hold * 0.75);
      await claims.at(-1)!.answer(claimed([second]));
    }
    finish();
    expect(started).toEqual([first, second]);
  });

  it('each job that must be alone has that time for itself', async () => {
    const { fetcher, claims, started, postponed, finish } = setUp({ slots: 3 });
    const list = [job(), job(true), job(true)];
    fetcher.start();
    await claims[0]!.answer(claimed(list));
    await vi.advanceTimersByTimeAsync(59_999);
    // Those prefetched behind it were released meanwhile.
    await fetcher.stop();
    fetcher.start();
    await claims.at(-1)!.answer(claimed([list[2]!]));
    await vi.advanceTimersByTimeAsync(59_999);
    expect(postponed).toEqual([]);
    finish();
    expect(started).toEqual([list[0], list[2]]);
  });
});

describe('stop', () => {
  it('releases what was prefetched, and starts nothing more', async () => {
    const { fetcher, claims, started, released, finish } = setUp({ slots: 1, prefetch: 2 });
    const list = jobs(3);
    fetcher.start();
    await claims[0]!.answer(claimed(list));
    await fetcher.stop();
    expect(released).toEqual(list.slice(1));
    finish();
    fetcher.wake();
    expect([started.length, claims.length]).toEqual([1, 1]);
  });

  it('resolves when the claim under way is answered, and releases its jobs', async () => {
    const { fetcher, claims, started, released } = setUp();
    fetcher.start();
    let stopped = false;
    const stopping = fetcher.stop().then(() => {
      stopped = true;
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(stopped).toBe(false);
    const list = jobs(1);
    await claims[0]!.answer(claimed(list));
    await stopping;
    expect([started, released]).toEqual([[], list]);
  });
});

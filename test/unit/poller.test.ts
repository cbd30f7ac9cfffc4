import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Executor } from '../../src/db/executor.js';
import { DueTimer } from '../../src/store/runtime/due-timer.js';
import type { PollResult } from '../../src/store/runtime/poll-statement.js';
import { type PolledQueue, Poller, type PollerOptions } from '../../src/store/runtime/poller.js';
import { recordingLogger } from '../support/playground.js';
import { deferred } from '../support/until.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** The rows of one queue in the poll's answer. */
type Due = Partial<Omit<PollResult, 'queueName'>>;

/** A poller over a database that answers as `due` says, queue by queue. */
function pollerWith(options: Partial<PollerOptions> = {}) {
  const due: Record<string, Due> = {};
  const polls: string[][] = [];
  const state = { listening: true, fails: undefined as Error | undefined, answers: Promise.resolve() };
  const text = (value: unknown) => (value === null || value === undefined ? null : String(value));
  const executor = {
    run: async (_statement: unknown, values: { queues: string }) => {
      const queues = JSON.parse(values.queues) as string[];
      polls.push(queues);
      const rows = queues.map((name) => {
        const { waiting = false, delayedIn, stalled = false, tickIn, expired = false, active } = due[name] ?? {};
        return [name, text(waiting), text(delayedIn), text(stalled), text(tickIn), text(expired), text(active)];
      });
      await state.answers;
      if (state.fails) throw state.fails;
      return rows;
    },
  } as unknown as Executor;
  const { lines, logger } = recordingLogger();
  const poller = new Poller({
    executor: () => executor,
    logger,
    listening: () => state.listening,
    deleteExpired: async () => {},
    aggregateMetrics: undefined,
    ...options,
  });
  const calls: string[] = [];
  const queue = (queueName = 'q', more: Partial<PolledQueue> = {}): PolledQueue => ({
    queueName,
    interval: 30_000,
    wake: () => void calls.push(`wake ${queueName}`),
    promote: async () => calls.push(`promote ${queueName}`) * 0,
    sweep: async () => calls.push(`sweep ${queueName}`) * 0,
    tick: async () => calls.push(`tick ${queueName}`) * 0,
    ...more,
  });
  return { poller, executor, polls, due, state, calls, queue, lines };
}

const turn = () => vi.advanceTimersByTimeAsync(0);
const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('when it polls', () => {
  it('once for each queue that is added, and all queues in one statement', async () => {
    const { poller, polls, queue } = pollerWith();
    poller.add(queue('a'));
    poller.add(queue('b'));
    poller.add(queue('b'));
    await turn();
    expect(polls).toEqual([['a'], ['a', 'b']]);
    expect(poller.queues()).toEqual(['a', 'b']);
  });

  it('every 12.5 s with notifications: more seldom than the heartbeat, whose poll counts', async () => {
    const { poller, executor, polls, queue } = pollerWith();
    poller.add(queue());
    await turn();
    await advance(12_499);
    expect(polls).toHaveLength(1);
    await advance(1);
    expect(polls).toHaveLength(2);
    for (let beat = 1; beat <= 5; beat++) {
      await advance(10_000);
      await poller.heartbeat(executor);
    }
    expect(polls).toHaveLength(2 + 5);
    await advance(12_500);
    expect(polls).toHaveLength(3 + 5);
  });

  it('every second without notifications', async () => {
    const { poller, polls, queue, state } = pollerWith();
    state.listening = false;
    poller.add(queue());
    await turn();
    await advance(3_000);
    expect(polls).toHaveLength(4);
  });

  describe('only when woken or due', () => {
    const never = { pollInterval: Number.POSITIVE_INFINITY, heartbeatInterval: Number.POSITIVE_INFINITY };
    const hour = 3_600_000;
    const idle = { interval: Number.POSITIVE_INFINITY };

    it('not at all while nothing happens, and yet the process does not end', async () => {
      const { poller, polls, queue } = pollerWith(never);
      poller.add(queue('q', idle));
      await advance(hour);
      expect(polls).toHaveLength(1);
      expect(vi.getTimerCount()).toBe(1);
    });

    it('once after something has happened, and on while jobs are active', async () => {
      const { poller, polls, queue, due } = pollerWith(never);
      poller.add(queue('q', idle));
      await advance(hour);
      poller.stirred();
      poller.stirred();
      await advance(9_999);
      expect(polls).toHaveLength(1);
      due['q'] = { active: true };
      await advance(60_001);
      expect(polls).toHaveLength(1 + 7);
      due['q'] = {};
      await advance(hour);
      expect(polls).toHaveLength(1 + 8);
    });

    it('a limited worker is more impatient, while jobs are active', async () => {
      const { poller, polls, queue, due } = pollerWith(never);
      due['q'] = { active: true };
      poller.add(queue('q', { interval: 1_000 }));
      await advance(5_500);
      expect(polls).toHaveLength(6);
      due['q'] = {};
      await advance(hour);
      expect(polls).toHaveLength(7);
    });

    it('a queue whose jobs wait and wait, as a paused one, is at rest', async () => {
      const { poller, polls, queue, due } = pollerWith(never);
      due['q'] = { waiting: true };
      poller.add(queue('q', idle));
      await advance(hour);
      expect(polls).toHaveLength(2);
    });

    it('again after a poll that failed', async () => {
      const { poller, polls, queue, state } = pollerWith(never);
      state.fails = new Error('away');
      poller.add(queue('q', idle));
      await advance(25_000);
      // After 1, 2, 4 and then every 5 s.
      expect(polls).toHaveLength(7);
      state.fails = undefined;
      await advance(hour);
      expect(polls).toHaveLength(8);
    });

    it('every second where notifications are wanted and do not arrive', async () => {
      const { poller, polls, queue, state } = pollerWith(never);
      state.listening = false;
      poller.add(queue('q', idle));
      await advance(3_000);
      expect(polls).toHaveLength(4);
    });

    it('not even then where they are not wanted', async () => {
      const { poller, polls, queue, state } = pollerWith({ ...never, listens: false });
      state.listening = false;
      poller.add(queue('q', idle));
      await advance(hour);
      expect(polls).toHaveLength(1);
    });
  });

  it('as often as it is told', async () => {
    const { poller, polls, queue } = pollerWith({ pollInterval: 60_000, heartbeatInterval: Number.POSITIVE_INFINITY });
    poller.add(queue('q', { interval: 60_000 }));
    await advance(180_000);
    expect(polls).toHaveLength(4);
  });

  it('as often as the most impatient worker needs', async () => {
    const { poller, polls, queue } = pollerWith();
    poller.add(queue('a', { interval: 4_000 }));
    const remove = poller.add(queue('b', { interval: 800 }));
    await turn();
    const before = polls.length;
    await advance(1_000);
    expect(polls.length - before).toBe(1);
    remove();
    await advance(1_000);
    expect(polls.length - before).toBe(2);
    await advance(4_999);
    expect(polls.length - before).toBe(2);
    await advance(1);
    expect(polls.length - before).toBe(3);
  });

  it('requests during a poll become one more', async () => {
    const { poller, polls, queue, state } = pollerWith();
    const answer = deferred();
    state.answers = answer.promise;
    poller.add(queue());
    for (let i = 0; i < 5; i++) poller.poll();
    await turn();
    expect(polls).toHaveLength(1);
    answer.resolve();
    await turn();
    expect(polls).toHaveLength(2);
  });

  it('goes on after a poll that failed, and says so', async () => {
    const { poller, polls, queue, state, lines } = pollerWith();
    state.fails = new Error('no connection');
    poller.add(queue());
    await turn();
    expect(lines).toMatchObject([{ level: 'warn', message: expect.stringContaining('no connection') }]);
    await advance(12_500);
    // After 1, 2, 4 and then every 5 s.
    expect(polls).toHaveLength(5);
    state.fails = undefined;
    await advance(5_000);
    expect(polls).toHaveLength(6);
    await advance(11_000);
    expect(polls).toHaveLength(6);
  });

  it('not without a connection, which it asks for no more often than it would poll', async () => {
    let asked = 0;
    const { poller, queue } = pollerWith({ executor: () => void asked++ as undefined });
    poller.add(queue());
    await advance(20_000);
    expect(asked).toBe(2);
  });

  it('not without queues, or when closed', async () => {
    const { poller, polls, queue } = pollerWith();
    poller.poll();
    const remove = poller.add(queue());
    await turn();
    remove();
    await advance(60_000);
    expect(polls).toHaveLength(1);

    poller.add(queue());
    await turn();
    await poller.close();
    poller.expect('q', 1);
    await advance(60_000);
    expect(polls).toHaveLength(2);

    // And again once it has something to do.
    poller.add(queue());
    await turn();
    expect(polls).toHaveLength(3);
  });

  it('a queue that was removed twice does not take away the one that was added since', async () => {
    const { poller, queue } = pollerWith();
    const remove = poller.add(queue());
    remove();
    poller.add(queue());
    remove();
    expect(poller.queues()).toEqual(['q']);
  });

  it('close() waits for the poll under way, whose results are ignored', async () => {
    const { poller, queue, state, due, calls } = pollerWith();
    const answer = deferred();
    state.answers = answer.promise;
    due['q'] = { waiting: true };
    poller.add(queue());
    let closed = false;
    const closing = poller.close().then(() => {
      closed = true;
    });
    await turn();
    expect(closed).toBe(false);
    answer.resolve();
    await closing;
    expect(calls).toEqual([]);
  });
});

describe('what it does about what is due', () => {
  it('wakes every worker of a queue with waiting jobs', async () => {
    const { poller, due, queue, calls } = pollerWith();
    due['a'] = { waiting: true };
    poller.add(queue('a'));
    poller.add(queue('a'));
    poller.add(queue('b'));
    await turn();
    calls.length = 0;
    poller.poll();
    await turn();
    expect(calls).toEqual(['wake a', 'wake a']);
  });

  it('has one worker of the queue sweep, promote and tick', async () => {
    const { poller, due, queue, calls } = pollerWith();
    poller.add(queue());
    poller.add(queue());
    await turn();
    due['q'] = { stalled: true, delayedIn: -1, tickIn: 0 };
    poller.poll();
    await turn();
    expect(calls).toEqual(['sweep q', 'promote q', 'tick q']);
  });

  it('polls again after what was due, and 100 ms later when another process holds it', async () => {
    const { poller, due, queue, polls } = pollerWith();
    due['q'] = { delayedIn: -5 };
    const promoted = [2, 0];
    poller.add(queue('q', { promote: async () => promoted.shift() ?? 0 }));
    await turn();
    expect(polls).toHaveLength(2);
    due['q'] = {};
    await advance(100);
    expect(polls).toHaveLength(2);
    await advance(1);
    expect(polls).toHaveLength(3);
  });

  it('does not begin again what is under way', async () => {
    const { poller, due, queue } = pollerWith();
    const sweeping = deferred();
    let sweeps = 0;
    due['q'] = { stalled: true };
    const sweep = async () => {
      sweeps++;
      await sweeping.promise;
      return 1;
    };
    poller.add(queue('q', { sweep }));
    await turn();
    poller.poll();
    await turn();
    expect(sweeps).toBe(1);
    sweeping.resolve();
    await turn();
    poller.poll();
    await turn();
    expect(sweeps).toBe(2);
  });

  it('asks again rather than act on an answer from before the end of a run', async () => {
    const { poller, due, queue, polls, state } = pollerWith();
    const sweeping = deferred();
    let sweeps = 0;
    due['q'] = { stalled: true };
    const sweep = async () => {
      sweeps++;
      await sweeping.promise;
      return 1;
    };
    poller.add(queue('q', { sweep }));
    await turn();
    const answer = deferred();
    state.answers = answer.promise;
    poller.poll();
    // This poll has read the job as stalled; now the sweep ends, and only then the answer arrives.
    due['q'] = {};
    sweeping.resolve();
    await turn();
    answer.resolve();
    await turn();
    expect(sweeps).toBe(1);
    expect(polls).toHaveLength(3);
  });

  it.each(['sweep', 'promote', 'tick'])(
    'reports a %s that fails, and tries again, in the end every 5 s',
    async (kind) => {
      const { poller, due, queue, lines } = pollerWith();
      due['q'] = {
        stalled: kind === 'sweep',
        delayedIn: kind === 'promote' ? 0 : null,
        tickIn: kind === 'tick' ? 0 : null,
      };
      const failed = vi.fn();
      const refused = new Error('refused');
      poller.add(queue('q', { [kind]: () => Promise.reject(refused), failed }));
      await advance(1_000);
      expect(lines.map(({ level, message }) => [level, message])).toEqual(
        Array.from({ length: 4 }, () => ['error', 'conveyor: queue "q": refused']),
      );
      expect(failed).toHaveBeenCalledTimes(4);
      expect(failed).toHaveBeenCalledWith(refused);
      await advance(60_000);
      const before = lines.length;
      await advance(10_000);
      expect(lines.length - before).toBe(2);
    },
  );

  it('finds ever more rarely what another process holds', async () => {
    const { poller, due, queue, polls } = pollerWith();
    due['q'] = { delayedIn: 0 };
    poller.add(queue());
    await advance(60_000);
    const before = polls.length;
    await advance(10_000);
    expect(polls.length - before).toBe(2);
  });

  it('deletes expired jobs, one run at a time', async () => {
    const deleting = deferred();
    let runs = 0;
    const { poller, due, queue } = pollerWith({
      deleteExpired: () => {
        runs++;
        return deleting.promise;
      },
    });
    due['q'] = { expired: true };
    poller.add(queue());
    await turn();
    poller.poll();
    await turn();
    expect(runs).toBe(1);
    deleting.reject(new Error('no'));
    await turn();
    poller.poll();
    await turn();
    expect(runs).toBe(2);
  });

  it('aggregates metrics every 10 minutes', async () => {
    let runs = 0;
    const { poller, queue } = pollerWith({ aggregateMetrics: async () => void runs++ });
    poller.add(queue());
    await turn();
    expect(runs).toBe(1);
    await advance(599_000);
    expect(runs).toBe(1);
    await advance(14_000);
    expect(runs).toBe(2);
  });
});

describe('what comes due', () => {
  it('is polled for when it is due, a millisecond late at most', async () => {
    const { poller, due, queue, polls } = pollerWith();
    due['q'] = { delayedIn: 4_000, tickIn: 2_000 };
    poller.add(queue());
    await turn();
    due['q'] = {};
    await advance(2_000);
    expect(polls).toHaveLength(1);
    await advance(1);
    expect(polls).toHaveLength(2);
  });

  it('earlier than known moves the poll forward; later does not put it off', async () => {
    const { poller, queue, polls } = pollerWith();
    poller.add(queue('a'));
    poller.add(queue('b'));
    await turn();
    poller.expect('a', 1_000);
    poller.expect('a', 3_000);
    poller.expect('b', 500);
    await advance(501);
    expect(polls).toHaveLength(3);
  });

  it('of a queue that nobody polls is not waited for', async () => {
    const { poller, queue } = pollerWith();
    poller.add(queue('a'));
    await turn();
    const timers = vi.getTimerCount();
    poller.expect('b', 10);
    expect(vi.getTimerCount()).toBe(timers);
  });

  it('is waited for however late it is', async () => {
    const { poller, queue, polls } = pollerWith({ pollInterval: Number.POSITIVE_INFINITY });
    poller.add(queue('a'));
    await turn();
    const late = 40 * 86_400_000;
    poller.expect('a', late);
    await advance(late - 1);
    // A timer of Node.js reaches 24.8 days; the poll in between would say again when the job is due.
    expect(polls.length).toBeLessThanOrEqual(2);
    poller.expect('a', 1);
    const before = polls.length;
    await advance(2);
    expect(polls.length).toBeGreaterThan(before);
  });
});

describe('the heartbeat', () => {
  it('polls on the connection it is given, also without a queue, and acts on the answer', async () => {
    const { poller, executor, polls, due, queue, calls } = pollerWith({ executor: () => undefined });
    await poller.heartbeat(executor);
    expect(polls).toEqual([[]]);
    poller.add(queue());
    due['q'] = { waiting: true };
    await poller.heartbeat(executor);
    expect(calls).toEqual(['wake q']);
  });

  it('rejects when it fails', async () => {
    const { poller, executor, state } = pollerWith();
    state.fails = new Error('no connection');
    await expect(poller.heartbeat(executor)).rejects.toThrow('no connection');
  });
});

describe('DueTimer', () => {
  it('forgets the time of one queue and keeps those of others', async () => {
    const fired: number[] = [];
    const timer = new DueTimer(() => fired.push(performance.now()));
    const began = performance.now();
    timer.add('a', 100);
    timer.add('b', 300);
    timer.delete('a');
    timer.add('c', 400);
    await advance(1_000);
    expect(fired).toEqual([began + 301]);
  });

  it('fires for a time that has passed already, once', async () => {
    let fired = 0;
    const timer = new DueTimer(() => fired++);
    timer.add('a', -5);
    timer.add('b', -5);
    await advance(10);
    expect(fired).toBe(1);
    timer.add('a', 10);
    timer.clear();
    await advance(100);
    expect(fired).toBe(1);
  });
});

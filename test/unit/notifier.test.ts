import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Executor } from '../../src/db/executor.js';
import type { StoreEvent } from '../../src/model/event.js';
import { Notifier, type NotifierOptions } from '../../src/store/events/notifier.js';
import { MAX_CHARS, MAX_EVENTS } from '../../src/store/events/outbox.js';
import { Decoder } from '../../src/store/events/wire.js';
import { recordingLogger } from '../support/playground.js';
import { type Deferred, deferred } from '../support/until.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A notifier whose statements are recorded, as another process reads them. With `hold` the test answers them. */
function notifierWith(options: Partial<NotifierOptions> & { hold?: boolean } = {}) {
  const decoder = new Decoder('another process');
  const sends: {
    channels: string[];
    messages: NonNullable<ReturnType<Decoder['decode']>>[];
    answer: Deferred<void>;
  }[] = [];
  const executor = {
    run: async (_statement: unknown, { messages }: { messages: string }) => {
      const payloads = JSON.parse(messages) as { c: string; p: string }[];
      const answer = deferred();
      sends.push({
        channels: payloads.map(({ c }) => c),
        messages: payloads.flatMap(({ p }) => decoder.decode(p) ?? []),
        answer,
      });
      if (options.hold) await answer.promise;
      return [];
    },
  } as unknown as Executor;
  const { lines, logger } = recordingLogger();
  const listening: string[] = [];
  const errors: unknown[] = [];
  const notifier = new Notifier({
    executor: () => executor,
    schema: undefined,
    source: 'this process',
    logger,
    onEventHandlerError: (error) => errors.push(error),
    listen: (channel) => listening.push(`+${channel}`),
    unlisten: (channel) => listening.push(`-${channel}`),
    ...options,
  });
  const idsOf = (send: number) => sends[send]!.messages.flatMap(({ events }) => events.map(({ jobId }) => jobId));
  return { notifier, sends, idsOf, lines, listening, errors };
}

const event = (jobId: string, queueName = 'q'): StoreEvent => ({
  type: 'job:waiting',
  queueName,
  jobId,
  timestamp: new Date(0),
});
const turn = () => vi.advanceTimersByTimeAsync(0);

describe('sending', () => {
  it('sends the first event at once, and those that follow together, 3 ms later', async () => {
    const { notifier, sends, idsOf } = notifierWith();
    for (const id of ['1', '2', '3']) notifier.publish('job:active', 'q', id);
    await turn();
    expect(idsOf(0)).toEqual(['1']);
    expect(sends).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2);
    notifier.publish('job:active', 'q', '4');
    expect(sends).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(idsOf(1)).toEqual(['2', '3', '4']);
    // After a quiet time at once again.
    await vi.advanceTimersByTimeAsync(1_000);
    notifier.publish('job:active', 'q', '5');
    await turn();
    expect(idsOf(2)).toEqual(['5']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('has one statement under way at a time', async () => {
    const { notifier, sends, idsOf } = notifierWith({ hold: true });
    notifier.publish('job:active', 'q', '1');
    notifier.publish('job:active', 'q', '2');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sends).toHaveLength(1);
    sends[0]!.answer.resolve();
    await turn();
    expect(idsOf(1)).toEqual(['2']);
  });

  it('does not wait for the interval with more than 2,000 events', async () => {
    const { notifier, sends } = notifierWith();
    notifier.publish('job:active', 'q', 'first');
    await turn();
    for (let i = 0; i < 2_001; i++) notifier.publish('job:active', 'q', String(i));
    await turn();
    expect(sends).toHaveLength(2);
  });

  it('sends one message per queue, to its channel, with wake-ups combined', async () => {
    const { notifier, sends } = notifierWith();
    notifier.publish('job:active', 'other', '0');
    await turn();
    notifier.wake('a', 500);
    notifier.wake('a', 200);
    notifier.wake('a', 300);
    notifier.wake('b');
    notifier.publish('job:active', 'b', '1');
    await vi.advanceTimersByTimeAsync(3);
    expect(sends[1]!.channels).toEqual(['conveyor:a', 'conveyor:b']);
    expect(sends[1]!.messages).toMatchObject([
      { queueName: 'a', events: [], wake: false, dueIn: 200 },
      { queueName: 'b', events: [{ jobId: '1' }], wake: true, dueIn: null },
    ]);
  });

  it('sends what comes due however late: the receiver may not poll before', async () => {
    const { notifier, sends } = notifierWith();
    const woken: unknown[] = [];
    notifier.onWake('q', (dueIn) => woken.push(dueIn));
    notifier.wake('q', 86_400_000);
    await vi.runAllTimersAsync();
    expect(woken).toEqual([86_400_000]);
    expect(sends.flatMap(({ messages }) => messages)).toMatchObject([{ queueName: 'q', dueIn: 86_400_000 }]);
  });

  it('goes on after a statement that failed, and says so', async () => {
    const { notifier, sends, idsOf, lines } = notifierWith({ hold: true });
    notifier.publish('job:active', 'q', '1');
    await turn();
    notifier.publish('job:active', 'q', '2');
    sends[0]!.answer.reject(new Error('no connection'));
    await vi.runAllTimersAsync();
    expect(lines).toMatchObject([{ level: 'warn', message: expect.stringContaining('no connection') }]);
    expect(idsOf(1)).toEqual(['2']);
  });

  it('keeps nothing without a connection', async () => {
    const { notifier } = notifierWith({ executor: () => undefined });
    notifier.publish('job:active', 'q', '1');
    await notifier.flush();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('flush() sends at once and resolves when all is sent', async () => {
    const { notifier, sends, idsOf } = notifierWith({ hold: true });
    notifier.publish('job:active', 'q', '1');
    notifier.publish('job:active', 'q', '2');
    let flushed = false;
    const flushing = notifier.flush().then(() => {
      flushed = true;
    });
    sends[0]!.answer.resolve();
    await turn();
    expect(idsOf(1)).toEqual(['2']);
    expect(flushed).toBe(false);
    sends[1]!.answer.resolve();
    await flushing;
  });

  it('clear() drops what has not been sent', async () => {
    const { notifier, sends } = notifierWith();
    notifier.publish('job:active', 'q', '1');
    await turn();
    notifier.publish('job:active', 'q', '2');
    notifier.clear();
    await vi.runAllTimersAsync();
    expect(sends).toHaveLength(1);
    notifier.publish('job:active', 'q', '3');
    await vi.runAllTimersAsync();
    expect(sends).toHaveLength(2);
  });
});

describe('a send that hangs', () => {
  const hang = async () => {
    const all = notifierWith({ hold: true });
    all.notifier.publish('job:active', 'busy', 'hangs');
    await turn();
    return all;
  };

  it('drops the events beyond a bound, says so once, and wakes their queues instead', async () => {
    const { notifier, sends, lines } = await hang();
    notifier.publish('job:active', 'quiet', 'dropped');
    notifier.wake('delayed', 50);
    for (let i = 0; i < 2 * MAX_EVENTS; i++) notifier.publish('job:active', 'busy', 'dropped');
    notifier.publish('job:active', 'late', 'dropped');
    expect(lines).toMatchObject([{ level: 'warn', message: expect.stringContaining(`dropped ${MAX_EVENTS} events`) }]);
    sends[0]!.answer.resolve();
    await vi.runAllTimersAsync();
    expect(sends[1]!.messages).toEqual([
      { queueName: 'quiet', events: [], wake: true, dueIn: null },
      { queueName: 'delayed', events: [], wake: true, dueIn: 50 },
      { queueName: 'busy', events: [], wake: true, dueIn: null },
      { queueName: 'late', events: [], wake: true, dueIn: null },
    ]);
  });

  it('is bounded by the size of events as well', async () => {
    const { notifier, lines } = await hang();
    const data = 'x'.repeat(1024 * 1024);
    for (let sent = 0; sent <= MAX_CHARS; sent += data.length) notifier.publish('job:failed', 'busy', 'a', { data });
    expect(lines).toHaveLength(1);
  });

  it('sends events again once it has returned, and says so again the next time', async () => {
    const { notifier, sends, idsOf, lines } = await hang();
    const flood = () => {
      for (let i = 0; i <= MAX_EVENTS; i++) notifier.publish('job:active', 'busy', 'dropped');
    };
    flood();
    sends[0]!.answer.resolve();
    await vi.runAllTimersAsync();
    expect(idsOf(1)).toEqual([]);
    notifier.publish('job:active', 'busy', 'sent');
    sends[1]!.answer.resolve();
    await vi.runAllTimersAsync();
    expect(idsOf(2)).toEqual(['sent']);
    flood();
    expect(lines).toHaveLength(2);
  });
});

describe('delivery in this process', () => {
  it('is at once, to subscribers and own parts, and never comes back from outside', async () => {
    const { notifier, sends } = notifierWith();
    const received: string[] = [];
    notifier.subscribe('q', ({ jobId }) => received.push(`subscriber ${jobId}`));
    notifier.on('q', ({ jobId }) => received.push(`own ${jobId}`));
    notifier.subscribe('other', () => received.push('never'));
    notifier.publishEvent(event('1'));
    expect(received).toEqual(['own 1', 'subscriber 1']);
    await turn();
    expect(sends).toHaveLength(1);
    notifier.receive('{"s":"this process","q":"q","e":[[0,"1",0]]}');
    expect(received).toHaveLength(2);
  });

  it('is only of the types that were asked for', () => {
    const { notifier } = notifierWith();
    const received: unknown[] = [];
    notifier.on('q', ({ type }) => received.push(type), new Set(['job:failed']));
    notifier.publish('job:active', 'q', '1');
    notifier.publish('job:failed', 'q', '1', { data: 'x' });
    notifier.publishCompleted('q', '1', '1');
    expect(received).toEqual(['job:failed']);
  });

  it('of a result that is JSON text already is parsed for a subscriber', () => {
    const { notifier } = notifierWith();
    const received: unknown[] = [];
    notifier.subscribe('q', ({ timestamp, ...event }) => received.push(event));
    notifier.publishCompleted('q', '1', '{"partial":true}');
    notifier.publishCompleted('q', '2', undefined);
    const head = { type: 'job:completed', queueName: 'q' };
    expect(received).toEqual([
      { ...head, jobId: '1', data: { partial: true } },
      { ...head, jobId: '2', partial: true },
    ]);
  });

  it('survives subscribers that throw or reject, and an error handler that throws', async () => {
    const { notifier, errors } = notifierWith();
    notifier.subscribe('q', () => {
      throw new Error('sync');
    });
    notifier.subscribe('q', (async () => {
      throw new Error('async');
    }) as never);
    const received: unknown[] = [];
    notifier.subscribe('q', ({ jobId }) => received.push(jobId));
    notifier.publish('job:active', 'q', '1');
    await turn();
    expect(received).toEqual(['1']);
    expect(errors).toEqual([new Error('sync'), new Error('async')]);

    const handlerFails = notifierWith({
      onEventHandlerError: () => {
        throw new Error('handler');
      },
    });
    handlerFails.notifier.subscribe('q', () => {
      throw new Error('sync');
    });
    handlerFails.notifier.publish('job:active', 'q', '1');
    expect(handlerFails.lines).toMatchObject([{ level: 'error', args: [new Error('handler')] }]);
  });

  it('a subscriber that changes the event, or publishes another, does not change what is sent', async () => {
    const { notifier, sends } = notifierWith();
    notifier.subscribe('q', (received) => {
      if (received.jobId === '1') notifier.publish('job:active', 'q', '2');
      received.jobId = 'changed';
    });
    notifier.publishEvent(event('1'));
    await vi.runAllTimersAsync();
    const ids = sends.flatMap(({ messages }) => messages.flatMap(({ events }) => events.map(({ jobId }) => jobId)));
    expect(ids).toEqual(['1', '2']);
  });

  it('of wake-ups of another process: now, or in so many ms', () => {
    const { notifier } = notifierWith();
    const woken: (number | null)[] = [];
    notifier.onWake('q', (dueIn) => woken.push(dueIn));
    notifier.receive('{"s":"x","q":"q","b":1,"d":20}');
    notifier.receive('{"s":"x","q":"other","b":1}');
    expect(woken).toEqual([null, 20]);
  });
});

describe('subscribing', () => {
  it('listens for the first subscriber of a queue, until the last has gone', () => {
    const { notifier, listening } = notifierWith();
    const callback = () => {};
    notifier.subscribe('q', callback);
    const stopOwn = notifier.on('q', callback);
    const stopWake = notifier.onWake('q', () => {});
    expect(listening).toEqual(['+conveyor:q']);
    expect(notifier.channels()).toEqual(['conveyor:q']);
    notifier.unsubscribe('q', callback);
    stopOwn();
    stopOwn();
    expect(listening).toHaveLength(1);
    stopWake();
    expect(listening).toEqual(['+conveyor:q', '-conveyor:q']);
    expect(notifier.channels()).toEqual([]);
  });

  it('`unsubscribe` of a whole queue leaves own parts in place', () => {
    const { notifier, listening } = notifierWith();
    const received: string[] = [];
    notifier.subscribe('q', () => received.push('a'));
    notifier.subscribe('q', () => received.push('b'));
    notifier.on('q', () => received.push('own'));
    notifier.unsubscribe('q');
    notifier.unsubscribe('unknown');
    notifier.publish('job:active', 'q', '1');
    expect(received).toEqual(['own']);
    expect(listening).toEqual(['+conveyor:q']);
  });

  it('`unsubscribe` of another function changes nothing', () => {
    const { notifier } = notifierWith();
    const received: unknown[] = [];
    notifier.subscribe('q', ({ jobId }) => received.push(jobId));
    notifier.unsubscribe('q', () => {});
    notifier.publish('job:active', 'q', '1');
    expect(received).toEqual(['1']);
  });

  it('clear() forgets all of them; a later subscriber listens anew', () => {
    const { notifier, listening } = notifierWith();
    const received: unknown[] = [];
    notifier.subscribe('q', () => received.push('old'));
    notifier.clear();
    expect(notifier.channels()).toEqual([]);
    notifier.subscribe('q', () => received.push('new'));
    notifier.publish('job:active', 'q', '1');
    expect(received).toEqual(['new']);
    expect(listening).toEqual(['+conveyor:q', '+conveyor:q']);
  });
});

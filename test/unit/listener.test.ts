import type postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ConnectionEvents, HEARTBEAT_MS, Listener } from '../../src/db/listener.js';
import { recordingLogger } from '../support/playground.js';

beforeEach(() => {
  vi.useFakeTimers();
  // No jitter: the longest delays.
  vi.spyOn(Math, 'random').mockReturnValue(1);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** A connection of the driver's, as far as a listener uses one. */
interface Connection extends ConnectionEvents {
  readonly texts: string[];
  closed: boolean;
  /** Of what is sent from now on. */
  fails: Error | undefined;
}

function listenerWith(heartbeat: () => Promise<unknown> = async () => {}) {
  const opened: Connection[] = [];
  const openedAt: number[] = [];
  const state = { reachable: true };
  const received: string[] = [];
  const { lines, logger } = recordingLogger();
  let reconnects = 0;
  const listener = new Listener('postgres://host/db', {
    logger,
    heartbeat,
    onNotification: (channel, payload) => received.push(`${channel} ${payload}`),
    onReconnect: () => {
      reconnects++;
    },
    open: async (_connection, events) => {
      openedAt.push(performance.now());
      const connection: Connection = { ...(events as ConnectionEvents), texts: [], closed: false, fails: undefined };
      if (!state.reachable) {
        // As the driver does for a connection that it could not make.
        connection.onclose();
        throw new Error('unreachable');
      }
      opened.push(connection);
      const client = (text: TemplateStringsArray) => ({
        simple: async () => {
          connection.texts.push(...text);
          if (connection.fails) throw connection.fails;
        },
      });
      const end = async () => {
        connection.closed = true;
      };
      return Object.assign(client, { end }) as unknown as postgres.Sql;
    },
  });
  return { listener, opened, openedAt, state, received, lines, reconnects: () => reconnects };
}

const turn = () => vi.advanceTimersByTimeAsync(0);
const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('channels', () => {
  it('are listened to in one text when the connection opens, and one by one later', async () => {
    const { listener, opened } = listenerWith();
    expect(await listener.listen('a')).toBe(true);
    expect(await listener.listen('b "quoted"')).toBe(true);
    expect(await listener.listen('a')).toBe(false);
    await listener.start();
    await listener.listen('c');
    await listener.unlisten('a');
    await listener.unlisten('a');
    expect(opened[0]!.texts).toEqual(['listen "a"; listen "b ""quoted"""', 'listen "c"', 'unlisten "a"']);
  });

  it('that are added while the connection opens are not forgotten', async () => {
    const { listener, opened } = listenerWith();
    await listener.listen('a');
    const starting = listener.start();
    await Promise.resolve();
    await listener.listen('b');
    await starting;
    expect(opened[0]!.texts.join('; ')).toContain('listen "b"');
  });

  it('deliver to the end of `unlisten`, and not after close()', async () => {
    const { listener, opened, received } = listenerWith();
    await listener.listen('a');
    await listener.start();
    const [connection] = opened;
    connection!.onnotify('a', '1');
    connection!.onnotify('never asked for', '2');
    await listener.unlisten('a');
    connection!.onnotify('a', '3');
    await listener.listen('a');
    await listener.close();
    connection!.onnotify('a', '4');
    expect(received).toEqual(['a 1']);
    expect(connection!.closed).toBe(true);
  });
});

describe('a loss', () => {
  it('is followed by a new connection with the same channels, soon', async () => {
    const { listener, opened, lines, reconnects } = listenerWith();
    await listener.listen('a');
    await listener.start();
    opened[0]!.onclose();
    expect(listener.connected).toBe(false);
    await advance(29);
    expect(opened).toHaveLength(1);
    await advance(1);
    expect(opened[1]!.texts).toEqual(['listen "a"']);
    expect(listener.connected).toBe(true);
    expect(reconnects()).toBe(1);
    expect(lines).toMatchObject([{ level: 'warn', message: expect.stringContaining('lost') }]);
    // The old connection has nothing to say any more.
    opened[0]!.onclose();
    expect(listener.connected).toBe(true);
  });

  it('is retried at growing intervals, up to 5 s, and from the start after a success', async () => {
    const { listener, opened, openedAt, state, reconnects } = listenerWith();
    await listener.start();
    state.reachable = false;
    openedAt.length = 0;
    const lostAt = performance.now();
    opened[0]!.onclose();
    await advance(25_000);
    const delays = openedAt.map((at, i) => at - (openedAt[i - 1] ?? lostAt));
    expect(delays).toEqual([30, 100, 300, 1_000, 3_000, 5_000, 5_000, 5_000, 5_000]);
    state.reachable = true;
    await advance(5_000);
    expect(reconnects()).toBe(1);
    opened[1]!.onclose();
    await advance(30);
    expect(reconnects()).toBe(2);
  });

  it('is logged once, and of the attempts every tenth', async () => {
    const { listener, opened, state, lines } = listenerWith();
    await listener.start();
    state.reachable = false;
    opened[0]!.onclose();
    await advance(50_000);
    const messages = lines.map(({ message }) => message);
    expect(messages.filter((message) => message.includes('lost'))).toHaveLength(1);
    expect(messages.filter((message) => message.includes('unreachable'))).toHaveLength(2);
  });

  it('is what a LISTEN that fails means', async () => {
    const { listener, opened } = listenerWith();
    await listener.start();
    opened[0]!.fails = new Error('broken');
    expect(await listener.listen('a')).toBe(true);
    expect(listener.connected).toBe(false);
    await advance(30);
    expect(opened[1]!.texts).toEqual(['listen "a"']);
  });

  it('is not followed by anything after close()', async () => {
    const { listener, opened, state } = listenerWith();
    await listener.start();
    state.reachable = false;
    opened[0]!.onclose();
    await advance(200);
    await listener.close();
    state.reachable = true;
    await advance(60_000);
    expect(opened).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('start()', () => {
  it('rejects when the server cannot be reached', async () => {
    const { listener, state } = listenerWith();
    state.reachable = false;
    await expect(listener.start()).rejects.toThrow('unreachable');
  });

  it('rejects when it is closed meanwhile, and leaves no connection', async () => {
    const { listener, opened } = listenerWith();
    const starting = listener.start();
    await listener.close();
    await expect(starting).rejects.toMatchObject({ code: 'CONNECTION' });
    expect(opened[0]!.closed).toBe(true);
  });
});

describe('the heartbeat', () => {
  it('runs every 10 s', async () => {
    let beats = 0;
    const { listener } = listenerWith(async () => void beats++);
    await listener.start();
    await advance(3 * HEARTBEAT_MS);
    expect(beats).toBe(3);
    expect(listener.connected).toBe(true);
  });

  it.each([
    ['without an answer in 4 s', () => new Promise<void>(() => {}), 4_000],
    ['that fails', () => Promise.reject(new Error('terminated')), 0],
  ])('%s means a loss', async (_, heartbeat, delay) => {
    const { listener, opened } = listenerWith(heartbeat);
    await listener.start();
    await advance(HEARTBEAT_MS + delay - 1);
    expect(listener.connected).toBe(true);
    await advance(1);
    await turn();
    expect(listener.connected).toBe(false);
    expect(opened[0]!.closed).toBe(true);
    await advance(30);
    expect(opened).toHaveLength(2);
  });
});

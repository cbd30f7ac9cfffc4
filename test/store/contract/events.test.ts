import postgres from 'postgres';
import { afterEach, describe, expect, it } from 'vitest';
import { PgStore, type PgStoreOptions, type StoreEvent } from '../../../src/index.js';
import { noopLogger } from '../../../src/model/logger.js';
import { useDatabase } from '../../support/database.js';
import { onStatements } from '../../support/statements.js';
import { until } from '../../support/until.js';

const db = useDatabase();
const stores: PgStore[] = [];

async function connect(options: Partial<PgStoreOptions> = {}): Promise<PgStore> {
  const store = new PgStore({ connection: db.url, autoMigrate: false, logger: noopLogger, ...options });
  stores.push(store);
  await store.connect();
  return store;
}

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.disconnect()));
});

const event = (queueName: string, more: { jobId?: string; data?: unknown } = {}): StoreEvent => ({
  type: 'job:completed',
  queueName,
  jobId: 'j1',
  timestamp: new Date('2026-01-02T03:04:05.678Z'),
  ...more,
});

/** Subscribes, and collects the events received. */
function ear(store: PgStore, queueName: string): StoreEvent[] {
  const heard: StoreEvent[] = [];
  store.subscribe(queueName, (one) => heard.push(one));
  return heard;
}

/** The store's LISTEN has taken effect on the server. */
async function listening(url: string, count: number): Promise<void> {
  const sql = postgres(url, { max: 1 });
  await until(
    async () =>
      (await sql`select 1 from pg_stat_activity where datname = current_database() and query like 'listen %'`).length >=
      count,
    { what: `${count} listening connections` },
  );
  await sql.end();
}

describe('publish', () => {
  it('has called every local subscriber exactly once when it resolves', async () => {
    const store = await connect();
    const [a, b] = [ear(store, 'q'), ear(store, 'q')];
    const other = ear(store, 'another');
    await store.publish(event('q', { data: { n: 1 } }));
    expect(a).toEqual([event('q', { data: { n: 1 } })]);
    expect(b).toEqual(a);
    expect(other).toEqual([]);
  });

  it('reaches other stores once, as it was, and never echoes', async () => {
    const [a, b, c] = await Promise.all([connect(), connect(), connect()]);
    const heard = [a, b, c].map((store) => ear(store, 'q'));
    await listening(db.url, 3);
    const sent = event('q', { data: { text: 'ü 🚀 "quoted" \\ \n', list: [1, null, false] } });
    await a.publish(sent);
    await until(() => heard[1]?.length && heard[2]?.length);
    await a.publish(event('q', { jobId: 'last' }));
    await until(() => heard[1]?.length === 2 && heard[2]?.length === 2);
    for (const ears of heard) expect(ears).toEqual([sent, event('q', { jobId: 'last' })]);
  });

  it('keeps the order of one publisher', async () => {
    const [a, b] = await Promise.all([connect(), connect()]);
    const heard = ear(b, 'q');
    await listening(db.url, 1);
    for (let n = 0; n < 500; n++) void a.publish(event('q', { jobId: String(n) }));
    await until(() => heard.length === 500);
    expect(heard.map(({ jobId }) => Number(jobId))).toEqual(Array.from({ length: 500 }, (_, n) => n));
  });

  it.each([8_100, 100_000, 1_000_000])('delivers data of %i bytes whole', async (size) => {
    const [a, b] = await Promise.all([connect(), connect()]);
    const heard = ear(b, 'q');
    await listening(db.url, 1);
    const data = { text: '😀é'.repeat(size / 6) };
    await a.publish(event('q', { data }));
    await a.publish(event('q', { jobId: 'after' }));
    await until(() => heard.length === 2);
    expect(heard[0]?.data).toEqual(data);
    expect(heard[1]?.jobId).toBe('after');
  });

  it.each(['a'.repeat(255), '漢'.repeat(255), 'Ünïcode "q" \'s', '🚀🚀', 'with:colon', 'x'.repeat(54), 'x'.repeat(55)])(
    'takes the queue name %s',
    async (name) => {
      const [a, b] = await Promise.all([connect(), connect()]);
      const heard = ear(b, name);
      const neighbour = ear(b, `${[...name].slice(0, -1).join('')}!`);
      await listening(db.url, 1);
      await until(async () => {
        await a.publish(event(name));
        return heard.length > 0;
      });
      expect(heard[0]?.queueName).toBe(name);
      expect(neighbour).toEqual([]);
    },
  );

  it('goes on when a subscriber throws, and says so', async () => {
    const errors: unknown[] = [];
    const store = await connect({ onEventHandlerError: (error) => errors.push(error) });
    store.subscribe('q', () => {
      throw new Error('deaf');
    });
    const heard = ear(store, 'q');
    await store.publish(event('q'));
    expect(heard).toHaveLength(1);
    expect(String(errors[0])).toContain('deaf');
  });

  it('survives an onEventHandlerError that throws', async () => {
    const store = await connect({
      onEventHandlerError: () => {
        throw new Error('worse');
      },
    });
    store.subscribe('q', () => {
      throw new Error('deaf');
    });
    const heard = ear(store, 'q');
    await store.publish(event('q'));
    expect(heard).toHaveLength(1);
  });

  it('never fails because the notification did', async () => {
    const store = await connect();
    const heard = ear(store, 'q');
    let refused = 0;
    onStatements(store, (name, run) => {
      if (name !== 'notify') return run();
      refused++;
      return Promise.reject(new Error('the notification queue is full'));
    });
    await store.publish(event('q'));
    await until(() => refused > 0);
    expect(heard).toHaveLength(1);
  });

  it('sends data that JSON cannot hold as well as it can', async () => {
    const [a, b] = await Promise.all([connect(), connect()]);
    const heard = ear(b, 'q');
    await listening(db.url, 1);
    const cycle: Record<string, unknown> = { big: 1n, nul: 'a\u0000b' };
    cycle['self'] = cycle;
    await a.publish(event('q', { data: cycle }));
    await until(() => heard.length === 1);
    expect(heard[0]?.data).toMatchObject({ big: '1', nul: 'a\uFFFDb' });
  });
});

describe('subscribe', () => {
  it('ends with unsubscribe: one callback, or all of the queue', async () => {
    const store = await connect();
    const heard: string[] = [];
    const first = () => heard.push('first');
    store.subscribe('q', first);
    store.subscribe('q', () => heard.push('second'));
    await store.publish(event('q'));
    store.unsubscribe('q', first);
    await store.publish(event('q'));
    store.unsubscribe('q');
    await store.publish(event('q'));
    expect(heard).toEqual(['first', 'second', 'second']);
  });

  it('delivers once after unsubscribe, a lost connection and subscribe again', async () => {
    const [a, b] = await Promise.all([connect(), connect()]);
    ear(b, 'q');
    await listening(db.url, 1);
    b.unsubscribe('q');
    const reconnected = new Promise<void>((resolve) => b.engine.onReconnect(resolve));
    await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and query like '%listen%' and pid <> pg_backend_pid()`;
    await reconnected;
    const heard = ear(b, 'q');
    await until(async () => {
      await a.publish(event('q', { jobId: 'probe' }));
      return heard.length > 0;
    });
    const before = heard.length;
    await a.publish(event('q', { jobId: 'once' }));
    await until(() => heard.length > before && heard.some(({ jobId }) => jobId === 'once'));
    await a.publish(event('q', { jobId: 'end' }));
    await until(() => heard.some(({ jobId }) => jobId === 'end'));
    expect(heard.filter(({ jobId }) => jobId === 'once')).toHaveLength(1);
  });

  it('works before connect()', async () => {
    const store = new PgStore({ connection: db.url, autoMigrate: false });
    stores.push(store);
    const heard = ear(store, 'q');
    await store.connect();
    const other = await connect();
    await other.publish(event('q'));
    await until(() => heard.length === 1);
  });

  it('leaves no unhandled rejection when the store is disconnected at once', async () => {
    const unhandled: unknown[] = [];
    const catcher = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', catcher);
    for (let i = 0; i < 5; i++) {
      const store = await connect();
      ear(store, `q${i}`);
      void store.publish(event(`q${i}`));
      await store.disconnect();
    }
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', catcher);
    expect(unhandled).toEqual([]);
  });
});

describe('listen', () => {
  it('false: hears only itself, and opens no connection to listen', async () => {
    const silent = await connect({ listen: false });
    const speaking = await connect();
    const heard = ear(silent, 'q');
    const echo = ear(speaking, 'q');
    await listening(db.url, 1);
    await speaking.publish(event('q', { jobId: 'unheard' }));
    await silent.publish(event('q', { jobId: 'heard' }));
    await until(() => echo.length === 2);
    expect(heard.map(({ jobId }) => jobId)).toEqual(['heard']);
  });

  it('a URL: listens there', async () => {
    const url = new URL(db.url);
    url.searchParams.set('application_name', 'direct');
    const store = await connect({ listen: url.href });
    const heard = ear(store, 'q');
    const [row] = await db.sql`select count(*)::int as n from pg_stat_activity
      where datname = current_database() and application_name = 'direct'`;
    expect(row?.['n']).toBe(1);
    const other = await connect();
    await until(async () => {
      await other.publish(event('q'));
      return heard.length > 0;
    });
  });
});

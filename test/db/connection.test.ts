import { createServer, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterEach, describe, expect, it } from 'vitest';
import { statement } from '../../src/db/statement.js';
import {
  ConnectionError,
  ConveyorError,
  createJobData,
  PgStore,
  type PgStoreOptions,
  Queue,
  Worker,
} from '../../src/index.js';
import { noopLogger } from '../../src/model/logger.js';
import { useDatabase } from '../support/database.js';
import { recordingLogger } from '../support/playground.js';
import { startProxy } from '../support/proxy.js';
import { until } from '../support/until.js';

const db = useDatabase();
const closing: (() => Promise<unknown>)[] = [];

function newStore(options: Partial<PgStoreOptions> = {}): PgStore {
  const store = new PgStore({ connection: db.url, autoMigrate: false, logger: noopLogger, ...options });
  closing.push(() => store.disconnect());
  return store;
}

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Statements that run for `s` seconds: longer than the tests let them. */
const tooLong = statement('too long', ['s'], (_db, p) => sql`select /* too long */ pg_sleep(${p.s}::float8)::text`);
const sleepStatement = statement('sleep', ['s'], (_db, p) => sql`select pg_sleep(${p.s}::float8)::text`);

describe('options', () => {
  it.each([
    [{}, /exactly one of `connection`.*`db`/],
    [{ connection: 'postgres://x', db: { execute: async () => [] } }, /exactly one/],
    [{ connection: '' }, /empty; is DATABASE_URL set/],
    [{ connection: 5 }, /URL or an object/],
    [{ connection: [] }, /an array; it must be a URL or an object/],
    [{ connection: undefined }, /Both are undefined; is DATABASE_URL set/],
    [{ connection: { connectionString: 'postgres://x' } }, /no option "connectionString": give the URL itself/],
    [{ connection: 'nonsense' }, /is not a URL; it must look like postgres:/],
    [{ connection: 'mysql://me:secret@x/y' }, /begins with "mysql:\/\/"; it must be the URL of the Postgres server/],
    [{ connection: 'postgres://me:se#cret@x/y' }, /cannot be read as a URL.*percent-encoded/],
    [{ connection: 'postgres://me:secret%@x/y' }, /cannot be read as a URL.*percent-encoded/],
    [{ connection: 'postgres://x/y?schema=public' }, /parameter `schema`.*write the option `schema: "public"`/],
    [{ connection: 'postgres://x/y?pgbouncer=true' }, /parameter `pgbouncer`.*`prepare=false`.*`listen`/],
    [{ connection: 'postgres://x/y?connection_limit=5' }, /parameter `connection_limit`.*write `max=5`/],
    [{ connection: 'postgres://x/y?channel_binding=require' }, /parameter `channel_binding`.*leave it out/],
    [{ connection: 'postgres://x/y?sslmode=no-verify' }, /sslmode="no-verify"; write `sslmode=require`/],
    [{ connection: 'postgres://x/y?sslrootcert=a.pem' }, /`sslrootcert`.*ssl: \{ ca, cert, key \}/],
    [{ connection: 'postgres://x', listen: 'http://x' }, /`listen` begins with "http/],
    [{ db: {} }, /no execute/],
    [{ connection: 'postgres://x', schema: '' }, /1 to 63 bytes/],
    [{ connection: 'postgres://x', schema: 'ä'.repeat(40) }, /1 to 63 bytes/],
    [{ connection: 'postgres://x', listen: 5 }, /`listen` is 5; it must be/],
    [{ connection: 'postgres://x', maxPayloadBytes: 0 }, /maxPayloadBytes/],
    [{ connection: 'postgres://x', statementTimeout: -1 }, /statementTimeout/],
    [{ connection: 'postgres://x', metrics: { retentionMinutes: 0.5 } }, /metrics.retentionMinutes/],
  ])('refuses %j', (options, message) => {
    expect(() => new PgStore(options as never)).toThrow(message);
    try {
      new PgStore(options as never);
    } catch (error) {
      expect((error as Error).name).toMatch(/^(Type|Range)Error$/);
      expect((error as Error).message).not.toMatch(/secret|se#cret/);
    }
  });

  it.each([
    'postgres://me:secret@localhost/y',
    'postgresql://a:1,b:2/y?target_session_attrs=read-write&max=3&sslmode=verify-full',
    'postgres:///y?application_name=shop&search_path=a',
    { host: 'x' },
  ])('takes %j', (connection) => {
    new PgStore({ connection });
  });
});

describe('connect', () => {
  it('opens nothing before', async () => {
    newStore({ connection: 'postgres://nobody@127.0.0.1:1/nowhere' });
  });

  it('says where it cannot connect, without the password', async () => {
    const store = newStore({ connection: 'postgres://me:secret@127.0.0.1:1/shop' });
    const error = await store.connect().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(String(error)).toMatch(/Cannot connect to Postgres at 127\.0\.0\.1:1\/shop/);
    expect(String(error)).not.toContain('secret');
  });

  it('names the parameter of the URL that the server does not know', async () => {
    const store = newStore({ connection: `${db.url}?nonsense=1` });
    await expect(store.connect()).rejects.toThrow(/"nonsense".*parameters of the URL/);
  });

  it('can be tried again after it failed', async () => {
    const proxy = await startProxy(db.url);
    await proxy.close();
    const store = newStore({ connection: proxy.url });
    await expect(store.connect()).rejects.toThrow(ConnectionError);
    await expect(store.connect()).rejects.toThrow(ConnectionError);
  });

  it('is harmless twice, and works again after disconnect()', async () => {
    const store = newStore();
    await Promise.all([store.connect(), store.connect()]);
    await store.connect();
    await store.disconnect();
    await expect(store.getJob('q', 'x')).rejects.toMatchObject({
      code: 'CLOSED',
      message: expect.stringMatching(/not connected/),
    });
    await store.connect();
    expect(await store.getJob('q', 'x')).toBeNull();
  });

  it('tells by its name on the server who is there', async () => {
    const store = newStore();
    await store.connect();
    const names = await db.sql`select application_name from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`;
    expect(names.map((row) => row['application_name'])).toContain('conveyor');
  });
});

describe('whenConnected', () => {
  it('calls back once, with the first connection that succeeds, unless it was cancelled', async () => {
    const { engine } = newStore();
    const calls: string[] = [];
    engine.whenConnected(() => calls.push('waiting'));
    const cancel = engine.whenConnected(() => calls.push('cancelled'));
    engine.whenConnected(() => cancelLate());
    const cancelLate = engine.whenConnected(() => calls.push('cancelled by another'));
    cancel();
    await engine.connect();
    await until(() => calls.length > 0);
    await engine.disconnect();
    await engine.connect();
    expect(calls).toEqual(['waiting']);
  });

  it('calls back when the store is connected already, but not at once', async () => {
    const { engine } = newStore();
    await engine.connect();
    const calls: string[] = [];
    engine.whenConnected(() => calls.push('called'));
    engine.whenConnected(() => calls.push('cancelled'))();
    expect(calls).toEqual([]);
    await Promise.resolve();
    expect(calls).toEqual(['called']);
  });

  it('goes on waiting after an attempt that failed', async () => {
    const { hostname: host, port, username, password, pathname } = new URL(db.url);
    const connection = { host, port: 1, username, password, database: pathname.slice(1) };
    const { engine } = newStore({ connection });
    let called = false;
    engine.whenConnected(() => {
      called = true;
    });
    await expect(engine.connect()).rejects.toThrow(ConnectionError);
    expect(called).toBe(false);
    connection.port = Number(port);
    await engine.connect();
    await until(() => called);
  });
});

describe('disconnect', () => {
  it('is harmless before connect() and twice', async () => {
    const store = newStore();
    await store.disconnect();
    await store.connect();
    await store.disconnect();
    await store.disconnect();
  });

  it('ends every connection, also with `await using`', async () => {
    {
      await using store = new PgStore({ connection: db.url, autoMigrate: false });
      await store.connect();
      await Promise.all(Array.from({ length: 10 }, (_, i) => store.getJob('q', String(i))));
    }
    await until(
      async () =>
        (
          await db.sql`select 1 from pg_stat_activity
          where datname = current_database() and application_name = 'conveyor'`
        ).length === 0,
      { what: 'no connection of ours' },
    );
  });

  it('is bounded in time behind a stuck query', async () => {
    const store = newStore();
    await store.connect();
    const stuck = store.engine.executor.run(sleepStatement, { s: 60 }).catch((e: unknown) => e);
    await until(
      async () =>
        (
          await db.sql`select 1 from pg_stat_activity where query like '%pg_sleep%'
      and pid <> pg_backend_pid() and state = 'active'`
        ).length > 0,
    );
    await store.disconnect();
    expect(await stuck).toBeInstanceOf(ConveyorError);
  });
});

describe('a statement', () => {
  it('ends with a clear error when it runs too long, here and on the server', async () => {
    const store = newStore({ statementTimeout: 300 });
    await store.connect();
    await expect(store.engine.executor.run(tooLong, { s: 30 })).rejects.toThrow(ConnectionError);
    await until(
      async () =>
        (
          await db.sql`select 1 from pg_stat_activity where query like '%too long%' and state = 'active'
          and pid <> pg_backend_pid()`
        ).length === 0,
      { what: 'the statement to end on the server' },
    );
    expect(await store.getJob('q', 'x')).toBeNull();
  });

  it('that is safe to repeat survives the loss of its connections', async () => {
    const store = newStore();
    await store.connect();
    const id = await store.saveJob('q', createJobData('q', 'a', 1));
    for (let i = 0; i < 20; i++) {
      const reads = Array.from({ length: 5 }, () => store.getJob('q', id));
      await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'conveyor'`;
      for (const job of await Promise.all(reads)) expect(job?.id).toBe(id);
    }
  });

  it('does not wait for ever on a connection that answers nothing', async () => {
    const proxy = await startProxy(db.url);
    closing.push(proxy.close);
    const store = newStore({ connection: proxy.url, statementTimeout: 500, listen: false });
    await store.connect();
    proxy.freeze();
    await expect(store.saveJob('q', createJobData('q', 'a', 1))).rejects.toThrow(/did not answer within/);
  });
});

describe('connect to something that is no Postgres', () => {
  it('fails in time', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(async () => server.close());
    const { port } = server.address() as { port: number };
    const store = newStore({ connection: { host: '127.0.0.1', port, database: 'x', connect_timeout: 1 } });
    await expect(store.connect()).rejects.toThrow(ConveyorError);
  });
});

describe('a pool whose connections are half-open', () => {
  it('is replaced: the next statements work', async () => {
    const proxy = await startProxy(db.url);
    closing.push(proxy.close);
    const store = newStore({ connection: proxy.url, statementTimeout: 300, listen: false });
    await store.connect();
    proxy.freeze();
    const stuck = store.saveJob('q', createJobData('q', 'a', 1)).catch((e: unknown) => e);
    await until(() => proxy.frozen(), { what: 'the statement to be swallowed' });
    proxy.thaw();
    expect(await stuck).toBeInstanceOf(ConnectionError);
    await until(() =>
      store.getJob('q', 'x').then(
        () => true,
        () => false,
      ),
    );
    expect(await store.saveJob('q', createJobData('q', 'a', 2))).toBeTypeOf('string');
  });
});

describe('a connection that is lost while the driver writes to it', () => {
  it('is replaced, and what waits for it is sent within a second', async () => {
    const { hostname, port, username, password, pathname } = new URL(db.url);
    const sockets: Socket[] = [];
    const socket = () => {
      const opened = new Socket().connect(Number(port), hostname);
      sockets.push(opened);
      return opened;
    };
    const options = { username, password, database: pathname.slice(1), max: 1, socket };
    const store = newStore({ connection: options as never, listen: false });
    await store.connect();
    await store.getJob('q', 'x');
    await new Promise<void>((resolve) => setImmediate(resolve));
    const began = performance.now();
    const found = store.getJob('q', 'x');
    // The statement is to be written in the next turn; the end of the connection is noticed in this one.
    for (let i = 0; i < 10; i++) await Promise.resolve();
    sockets.at(-1)?.destroy();
    expect(await found).toBeNull();
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe('sessions that are read-only, as after a failover', () => {
  const makeReadOnly = statement(
    'make read-only',
    [],
    () => sql`select set_config('default_transaction_read_only', 'on', false)`,
  );

  it("in the store's own pool are replaced: the next write succeeds", async () => {
    const warnings: string[] = [];
    const logger = { ...noopLogger, warn: (text: string) => void warnings.push(text) };
    const store = newStore({ connection: `${db.url}?max=1`, logger });
    await store.connect();
    await store.engine.executor.run(makeReadOnly, {});
    const queue = new Queue('read-only', { store });
    await queue.add('a', 1);
    expect(warnings).toContainEqual(expect.stringMatching(/replaced the connection pool.*25006/));
  });

  it("on an app's client are reported once, with what to do", async () => {
    const warnings: string[] = [];
    const client = postgres(db.url, { max: 1, onnotice: () => {} });
    closing.push(() => client.end());
    const logger = { ...noopLogger, warn: (text: string) => void warnings.push(text) };
    const store = new PgStore({ db: drizzle(client), autoMigrate: false, logger });
    closing.push(() => store.disconnect());
    await store.connect();
    await client`select set_config('default_transaction_read_only', 'on', false)`;
    await expect(store.saveJob('q', createJobData('q', 'a', 1))).rejects.toMatchObject({ code: 'PG_25006' });
    await expect(store.saveJob('q', createJobData('q', 'a', 1))).rejects.toMatchObject({ code: 'PG_25006' });
    expect(warnings.filter((text) => /read-only.*target_session_attrs/s.test(text))).toHaveLength(1);
  });
});

describe('LISTEN that hears nothing', () => {
  const elsewhere = useDatabase({ empty: true });

  it('is reported, and the store polls every second', { timeout: 20_000 }, async () => {
    const { logger, lines } = recordingLogger();
    const deaf = newStore({ listen: elsewhere.url, logger });
    await deaf.connect();
    const near = newStore();
    await near.connect();
    const worker = new Worker('unheard', () => 'ran', { store: deaf });
    closing.push(() => worker.close());
    await until(() => lines.some(({ message }) => /hears no notifications.*`listen`/.test(message)));
    const queue = new Queue('unheard', { store: near });
    for (let i = 0; i < 2; i++) {
      const began = performance.now();
      expect(await (await queue.add('work', i)).waitUntilFinished('10s')).toBe('ran');
      expect(performance.now() - began).toBeLessThan(4_000);
    }
  });

  it('is not reported where notifications arrive', async () => {
    const { logger, lines } = recordingLogger();
    const store = newStore({ logger });
    await store.connect();
    // As long as a notification may take.
    await sleep(3_500);
    expect(lines).toEqual([]);
  });
});

import { afterEach, describe, expect, it } from 'vitest';
import { HEARTBEAT_MS, Listener } from '../../src/db/listener.js';
import { noopLogger } from '../../src/model/logger.js';
import { useDatabase } from '../support/database.js';
import { startProxy } from '../support/proxy.js';
import { until } from '../support/until.js';

const db = useDatabase();
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listenAt(url: string) {
  const heard: string[] = [];
  let reconnects = 0;
  const listener = new Listener(url, {
    logger: noopLogger,
    onNotification: (channel, payload) => heard.push(`${channel} ${payload}`),
    onReconnect: () => {
      reconnects++;
    },
    heartbeat: (client) => client.unsafe('select 1'),
  });
  closing.push(() => listener.close());
  await listener.start();
  return { listener, heard, reconnects: () => reconnects };
}

describe('Listener', () => {
  it('hears all its channels on one connection, and only them', async () => {
    const { listener, heard } = await listenAt(db.url);
    await listener.listen('a');
    await listener.listen('b "quoted"');
    await listener.listen('a');
    await db.sql.notify('a', '1');
    await db.sql.notify('b "quoted"', '2');
    await db.sql.notify('c', '3');
    await until(() => heard.length === 2);
    await listener.unlisten('a');
    await db.sql.notify('a', '4');
    await db.sql.notify('b "quoted"', '5');
    await until(() => heard.includes('b "quoted" 5'));
    expect(heard).toEqual(['a 1', 'b "quoted" 2', 'b "quoted" 5']);
    const connections = await db.sql`select 1 from pg_stat_activity
      where datname = current_database() and application_name = 'conveyor'`;
    expect(connections).toHaveLength(1);
  });

  it('comes back after a loss with every channel, and says so', async () => {
    const { listener, heard, reconnects } = await listenAt(db.url);
    await listener.listen('a');
    for (let round = 1; round <= 3; round++) {
      await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'conveyor'`;
      await until(() => reconnects() === round);
      await db.sql.notify('a', String(round));
      await until(() => heard.includes(`a ${round}`));
    }
    expect(heard).toEqual(['a 1', 'a 2', 'a 3']);
  });

  it('notices a connection that is dead but not closed within 15 s', { timeout: 40_000 }, async () => {
    const proxy = await startProxy(db.url);
    closing.push(proxy.close);
    const { listener, heard, reconnects } = await listenAt(proxy.url);
    await listener.listen('a');
    proxy.freeze();
    const frozenAt = performance.now();
    await until(() => !listener.connected, { timeout: 20_000, what: 'the dead connection to be noticed' });
    // The bound is the listener's promise, not a measurement of speed.
    expect(performance.now() - frozenAt).toBeLessThan(15_000);
    expect(HEARTBEAT_MS).toBeLessThan(15_000);
    proxy.thaw();
    await until(() => reconnects() === 1, { timeout: 15_000 });
    await db.sql.notify('a', 'back');
    await until(() => heard.includes('a back'));
  });

  it('stays closed', async () => {
    const { listener, heard } = await listenAt(db.url);
    await listener.listen('a');
    await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'conveyor'`;
    await listener.close();
    await db.sql.notify('a', 'nobody hears');
    await until(
      async () =>
        (
          await db.sql`select 1 from pg_stat_activity
          where datname = current_database() and application_name = 'conveyor'`
        ).length === 0,
    );
    expect(heard).toEqual([]);
    expect(listener.connected).toBe(false);
  });
});

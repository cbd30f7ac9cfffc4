import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import type { Scenario } from './scenario.js';

export const idle: Scenario = {
  what: 'a connected worker with nothing to do, for a minute',
  figure: 'statements',
  unit: 'a minute',
  needs: ['postgres', 'queue'],
  counted: true,
  once: true,
  async run({ queue, meter, sizes, address }) {
    await queue.work(() => {}, { purpose: 'latency' });
    // Connections opened at the start have been closed by then.
    await sleep(sizes.idleAfterSeconds * 1_000);
    const before = await meter.read();
    await sleep(sizes.idleSeconds * 1_000);
    const after = await meter.read();
    const sql = postgres(address.postgres, { max: 1 });
    // Without the meter's and this one.
    const [row] = await sql<{ n: number }[]>`
      select count(*)::int - 1 as n from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`;
    await sql.end();
    const minutes = sizes.idleSeconds / 60;
    const statements =
      after.statements === undefined
        ? after.transactions - before.transactions - 1
        : after.statements - (before.statements ?? 0);
    return {
      statements: statements / minutes,
      writes: (after.writes - before.writes - 1) / minutes,
      connections: row?.n ?? 0,
    };
  },
};

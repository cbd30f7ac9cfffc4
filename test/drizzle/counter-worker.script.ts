/** A worker whose handler counts in the transaction that completes its job. It may die at any moment. */
import { PgStore, Worker } from '@conveyor/store-pg';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { randomPause } from '../support/pauses.js';

const client = postgres(process.env['DATABASE_URL']!, {
  max: 12,
  onnotice: () => {},
  connection: { application_name: 'counter' },
});
const db = drizzle({ client });
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const store = new PgStore({ db, logger: quiet });
await store.connect();

const worker = new Worker<null>(
  'counted',
  async (job) => {
    await db.transaction(async (tx) => {
      await tx.execute(sql`insert into effects values (${job.id})`);
      // Time to be killed in, on either side of the completion.
      await randomPause(5);
      await job.completeIn(tx, { by: process.pid });
      await randomPause(5);
      // At last, because all transactions wait for each other here.
      await tx.execute(sql`update counter set n = n + 1`);
    });
  },
  { store, concurrency: 10, lockDuration: 600, stalledInterval: 150, maxStalledCount: 1_000 },
);
worker.on('error', () => {});
console.log(JSON.stringify('ready'));

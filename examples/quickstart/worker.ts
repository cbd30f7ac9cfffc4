/** Runs jobs. Start as many of these as you like, on as many machines: each job goes to one of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { PgStore, Worker } from '@conveyor/store-pg';
import { drizzle } from 'drizzle-orm/postgres-js';
import { type MailJobs, QUEUE } from './queue.js';
import { deliveries } from './schema.js';
import { untilStopped } from './until-stopped.js';

const name = process.argv[2] ?? 'worker';
const db = drizzle(process.env['DATABASE_URL']!);
const store = new PgStore({ db }); // on the app's own connections

const worker = new Worker<MailJobs>(
  QUEUE,
  async (job) => {
    await sleep(100); // opening a connection to the mail server …
    await job.updateProgress(50);
    if (job.name === 'invoice' && job.attemptsMade < 2) throw new Error('the mail server is busy');
    await sleep(100); // … and sending
    await db.insert(deliveries).values({ jobId: job.id, recipient: job.data.to, sentBy: name });
    return { sentBy: name };
  },
  // How soon a dead worker's jobs are run by another. The defaults are half a minute each.
  { store, concurrency: 2, lockDuration: 3_000, stalledInterval: 500 },
);

worker.on('retrying', ({ job, error, delay }) =>
  console.log(`${job.id} failed: ${error.message}; again in ${delay} ms`),
);

await store.connect();
process.send?.('ready');

await untilStopped();
await worker.close(); // takes no more jobs, and waits for those that run
await store.disconnect();
await db.$client.end();

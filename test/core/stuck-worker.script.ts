// For worker-stalls.test.ts: takes jobs and never ends them. All options are the defaults, but for a short lease.
import { PgStore, Worker } from '../../src/index.js';

const [connection, queueName] = process.argv.slice(2) as [string, string];
const store = new PgStore({ connection, autoMigrate: false });
await store.connect();
const run = async (job: { id: string }) => {
  console.log(JSON.stringify({ running: job.id }));
  await new Promise(() => {});
};
new Worker(queueName, run, { store, lockDuration: 1_500 });

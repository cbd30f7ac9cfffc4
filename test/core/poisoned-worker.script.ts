// For worker-stalls.test.ts: runs jobs until one of them kills it.
import { PgStore, Worker } from '../../src/index.js';

const [connection, queueName] = process.argv.slice(2) as [string, string];
const store = new PgStore({ connection, autoMigrate: false });
await store.connect();
const run = (job: { data: unknown }) => {
  if (job.data === 'poison') process.kill(process.pid, 'SIGKILL');
};
new Worker(queueName, run, { store });

// For worker-stalls.test.ts: runs jobs until one of them kills it.
import { setTimeout as sleep } from 'node:timers/promises';
import { PgStore, Worker } from '../../src/index.js';

const [connection, queueName, options = '{}'] = process.argv.slice(2) as [string, string, string?];
const store = new PgStore({ connection, autoMigrate: false });
await store.connect();
const run = async (job: { data: unknown }) => {
  if (job.data === 'poison') process.kill(process.pid, 'SIGKILL');
  if (job.data === 'slow poison') {
    await sleep(200);
    process.kill(process.pid, 'SIGKILL');
  }
  if (job.data === 'slow') await sleep(700);
  return 'fine';
};
const worker = new Worker(queueName, run, { store, ...JSON.parse(options) });
worker.on('failed', ({ job }) => console.log(JSON.stringify({ failed: job.data })));

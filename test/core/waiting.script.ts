// For outage.test.ts: adds jobs, waits for all of them, and prints when each wait ended.
import { PgStore, Queue } from '../../src/index.js';

const [connection, queueName, count] = process.argv.slice(2) as [string, string, string];
const logger = { debug() {}, info() {}, warn() {}, error() {} };
const store = new PgStore({ connection, autoMigrate: false, logger });
await store.connect();
const queue = new Queue<number>(queueName, { store });
console.log('"ready"');
await new Promise((resolve) => process.once('message', resolve));
const jobs = await queue.addBulk(Array.from({ length: Number(count) }, (_, data) => ({ name: 'work', data })));
const theirs = await Promise.all(
  jobs.map(async (job) => {
    const result = await job.waitUntilFinished();
    if (result !== job.data) throw new Error(`${result} is not ${job.data}`);
    return [job.id, Date.now()];
  }),
);
console.log(JSON.stringify({ theirs }));

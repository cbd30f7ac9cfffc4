// For kills.test.ts: runs jobs until it is killed, with the given number of workers and their options.
import { PgStore, Worker } from '../../src/index.js';
import { randomPause } from '../support/pauses.js';

const [connection, queueName, workers = '1', more = '{}'] = process.argv.slice(2) as string[];
const logger = { debug() {}, info() {}, warn() {}, error() {} };
const store = new PgStore({ connection: connection as string, autoMigrate: false, logger });
await store.connect();
const options = {
  store,
  concurrency: 4,
  lockDuration: 600,
  stalledInterval: 100,
  maxStalledCount: 100,
  ...JSON.parse(more),
};
for (let i = 0; i < Number(workers); i++) {
  new Worker(
    queueName as string,
    async (job) => {
      await randomPause(60);
      return job.name === 'parent' ? job.getChildrenValues() : job.data;
    },
    options,
  );
}

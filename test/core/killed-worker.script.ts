// For kills.test.ts: runs flows until it is killed.
import { setTimeout as sleep } from 'node:timers/promises';
import { PgStore, Worker } from '../../src/index.js';

const [connection, queueName] = process.argv.slice(2) as [string, string];
const logger = { debug() {}, info() {}, warn() {}, error() {} };
const store = new PgStore({ connection, autoMigrate: false, logger });
await store.connect();
const options = { store, concurrency: 4, lockDuration: 600, stalledInterval: 100, maxStalledCount: 100 };
new Worker(
  queueName,
  async (job) => {
    await sleep(Math.random() * 60);
    return job.name === 'parent' ? job.getChildrenValues() : job.data;
  },
  options,
);

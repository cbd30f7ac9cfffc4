// For versions.test.ts: the released version at work on the tables as they are now.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
// @ts-expect-error a bundle without types
import { PgStore, Queue, Worker } from './released/0.1.0.js';

const [connection, queueName, other] = process.argv.slice(2) as [string, string, string];
const say = (line: object) => console.log(JSON.stringify(line));
const logger = { debug() {}, info: (told: string) => say({ told }), warn: (told: string) => say({ told }), error() {} };
const store = new PgStore({ connection, autoMigrate: false, logger });
await store.connect();
const sql = postgres(connection, { max: 2 });
new Worker(
  queueName,
  async (job: { id: string; name: string; data: unknown; updateProgress(n: number): Promise<void> }) => {
    await sql`insert into effects values (${job.id}, 'released')`;
    await job.updateProgress(50);
    await sleep(5);
    if (job.name === 'fail') throw new Error('on purpose');
    return { from: 'released', data: job.data };
  },
  { store, concurrency: 4, lockDuration: 1_000, stalledInterval: 200 },
);
say({ ready: true });
// A job that only the present version has a worker for.
process.on('message', async () => {
  const queue = new Queue(other, { store });
  const job = await queue.add('work', 7);
  const failing = await queue.add('fail', 7);
  const reason = await failing.waitUntilFinished().catch((error: Error) => error.message);
  say({ result: await job.waitUntilFinished(), reason });
});

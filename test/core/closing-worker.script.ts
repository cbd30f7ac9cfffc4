// For worker-close.test.ts: runs a worker, closes it, disconnects, and must end by itself.
import { PgStore, Queue, Worker } from '../../src/index.js';

const [connection, queueName, how] = process.argv.slice(2) as [string, string, string];
const store = new PgStore({ connection, autoMigrate: false });
await store.connect();
const queue = new Queue(queueName, { store });

const run = async () => {
  // Ignores its signal, and everybody.
  if (how === 'forced') await new Promise(() => {});
};
const worker = new Worker(queueName, run, { store, concurrency: 3 });
const active = new Promise((resolve) => worker.on('active', resolve));
if (how !== 'idle') {
  await queue.addBulk(
    Array.from({ length: 50 }, () => ({
      name: 'work',
      data: null,
      opts: { timeout: 60_000, attempts: 3, removeOnComplete: 60_000 },
    })),
  );
  await queue.schedule(60_000, 'later', null);
  await queue.every(60_000, 'tick', null);
  await active;
}
if (how === 'not closed workers') {
  // Waits and observers that nobody has ended.
  const last = await queue.schedule(60_000, 'never', null);
  last.waitUntilFinished().catch(() => {});
  queue.observe(last.id).subscribe({});
}
await worker.close(how === 'forced' ? 200 : 10_000);
await queue.close();
await store.disconnect();
console.log('"closed"');

// For async-callbacks.test.ts: every callback that an app can give rejects; the process must live through all of it.
import * as v from 'valibot';
import { z } from 'zod';
import { PgStore, Queue, Worker } from '../../src/index.js';

const reject = async () => {
  throw new Error('on purpose');
};
const [connection, queueName] = process.argv.slice(2) as [string, string];
const logger = { debug: reject, info: reject, warn: reject, error: reject };
const store = new PgStore({ connection, autoMigrate: false, logger, onEventHandlerError: reject, onStatement: reject });
await store.connect();
const queue = new Queue(queueName, { store, logger });
for (const event of ['waiting', 'delayed', 'paused', 'resumed', 'drained', 'error'] as const) {
  queue.events.on(event as 'waiting', reject);
}
store.subscribe(queueName, reject as () => void);
const worker = new Worker(queueName, async ({ data }) => (data === 'fails' ? reject() : data), {
  store,
  logger,
  backoffStrategy: reject as never,
});
for (const event of ['active', 'completed', 'failed', 'retrying', 'stalled', 'cancelled', 'error'] as const) {
  worker.on(event, reject as () => void);
}
for (const data of ['works', 'fails']) {
  const job = await queue.add('work', data, { attempts: 2, backoff: { type: 'custom', delay: 1 } });
  job.observe().subscribe({
    onActive: reject,
    onProgress: reject,
    onCompleted: reject,
    onFailed: reject,
    onCancelled: reject,
  });
  await job.waitUntilFinished().catch(() => {});
}
// Schemas are callbacks, too: where they reject, `add` rejects, and the attempt fails.
const schemas = { checked: z.string().refine(reject), raw: v.pipeAsync(v.string(), v.checkAsync(reject)) };
for (const name of ['checked', 'raw']) {
  await new Queue(queueName, { store, schemas }).add(name, 'refused').catch(() => {});
}
const checking = new Worker(queueName, reject, { store, logger, schemas, autoStart: false });
await worker.close();
checking.start();
for (const name of ['checked', 'raw']) {
  await (await queue.add(name, `unchecked ${name}`)).waitUntilFinished().catch(() => {});
}
await checking.close();
await queue.close();
await store.disconnect();
console.log(JSON.stringify({ ended: 'well' }));

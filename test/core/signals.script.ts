// For close-on-signals.test.ts: runs a job until it is told to end, and says in which order all is closed.
import { closeOnSignals, PgStore, Queue, Worker } from '../../src/index.js';

const [connection, queueName, ms, timeout] = process.argv.slice(2) as [string, string, string, string];
const say = (line: unknown) => console.log(JSON.stringify(line));
const store = new PgStore({ connection, autoMigrate: false });
const queue = new Queue(queueName, { store });
const run = async () => {
  await new Promise((resolve) => setTimeout(resolve, Number(ms)));
  return 'done';
};
const worker = new Worker(queueName, run, { store });
worker.on('active', () => say('active'));
worker.on('completed', () => say('completed'));

const saying = <T extends object>(target: T, method: keyof T & string) => {
  const close = (target[method] as (...args: unknown[]) => Promise<void>).bind(target);
  Object.assign(target, {
    [method]: async (...args: unknown[]) => {
      await close(...args);
      say(`${target.constructor.name} ${method}`);
    },
  });
};
saying(worker, 'close');
saying(queue, 'close');
saying(store, 'disconnect');

closeOnSignals(() => say('function'), store, queue, worker, { timeout: Number(timeout) }).closed.then(say);
await store.connect();
await queue.add('work', null);

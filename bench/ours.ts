import { PgStore, Queue, Worker } from '../src/index.js';
import type { Contender, Payload } from './contender.js';

const QUEUE = 'bench';

export function ours(): Contender {
  let store: PgStore;
  let queue: Queue<Payload>;
  let worker: Worker<Payload> | undefined;
  return {
    name: 'conveyor',
    async open(url) {
      store = new PgStore({ connection: url });
      await store.connect();
      queue = new Queue<Payload>(QUEUE, { store });
    },
    async addBulk(payloads) {
      await queue.addBulk(payloads.map((data) => ({ name: 'job', data })));
    },
    async addOne(data) {
      await queue.add('job', data);
    },
    async process(count, { concurrency }) {
      let settled = 0;
      await new Promise<void>((resolve, reject) => {
        worker = new Worker<Payload>(QUEUE, async () => {}, { store, concurrency });
        worker.on('completed', () => {
          if (++settled === count) resolve();
        });
        worker.on('error', reject);
      });
    },
    async startIdle(onStart) {
      worker = new Worker<Payload>(
        QUEUE,
        async (job) => {
          onStart(job.data);
        },
        { store },
      );
    },
    async close() {
      await worker?.close();
      await store.disconnect();
    },
  };
}

import { createPostgresBackend, Queue, QueueEvents, type QueueOptions, Worker } from 'bullmq';
import type { Address, Contender, Payload } from './contender.js';

const QUEUE = 'bench';
const CONCURRENCY = 100;

type Backend = typeof createPostgresBackend | undefined;

/** BullMQ on Redis, or on its Postgres backend. */
export function bullmq(on: 'redis' | 'postgres'): Contender {
  let options: QueueOptions;
  let queue: Queue<Payload>;
  const backend = (on === 'postgres' ? createPostgresBackend : undefined) as never;
  return {
    async open(address) {
      options = on === 'postgres' ? postgresOptions(address) : redisOptions(address);
      queue = new Queue<Payload>(QUEUE, options, backend);
      await queue.waitUntilReady();
    },
    async addBulk(payloads, { remove } = {}) {
      const opts = remove ? { opts: { removeOnComplete: true } } : {};
      await queue.addBulk(payloads.map((data) => ({ name: 'noop', data, ...opts })) as never);
    },
    async addOne(payload) {
      await queue.add('noop' as never, payload as never);
    },
    async work(handler, { purpose, concurrency = CONCURRENCY }) {
      const at = purpose === 'latency' ? 1 : concurrency;
      const worker = new Worker<Payload>(
        QUEUE,
        async (job) => handler(job.data),
        { ...options, concurrency: at },
        backend,
      );
      worker.on('error', (error) => console.error(error));
      await worker.waitUntilReady();
    },
    async unfinished() {
      const counts = await queue.getJobCounts('wait', 'active');
      return (counts['wait'] ?? 0) + (counts['active'] ?? 0) > 0;
    },
    async countCompleted() {
      let completed = 0;
      const events = new QueueEvents(QUEUE, options, backend);
      events.on('completed', () => {
        completed++;
      });
      await events.waitUntilReady();
      return () => completed;
    },
  };
}

const redisOptions = ({ redis }: Address): QueueOptions => ({
  connection: { host: '127.0.0.1', port: redis, maxRetriesPerRequest: null },
});

const postgresOptions = ({ postgres }: Address) =>
  ({
    connection: { connectionString: postgres, max: 10, migrate: true },
    backendFactory: createPostgresBackend as Backend,
  }) as unknown as QueueOptions;

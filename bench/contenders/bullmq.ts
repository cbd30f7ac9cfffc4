import { createPostgresBackend, Queue, QueueEvents, type QueueOptions, Worker } from 'bullmq';
import { type Address, type Contender, type Payload, SQL_PAYLOAD } from './contender.js';
import { existsIn } from './exists.js';

const QUEUE = 'bench';
const CONCURRENCY = 100;

const rows = (state: string, times: string) => `
  insert into bullmq.job (queue, id, seq, name, state, data, opts, added_at_ms, processed_at_ms, finished_at_ms)
  select '${QUEUE}', '${state}-' || i, nextval('bullmq.job_seq'), 'noop', '${state}', ${SQL_PAYLOAD},
    '{"attempts": 0}', 1, ${times} from generate_series(1, $count) i`;

/** BullMQ on Redis, or on its Postgres backend, which differ in how they are connected to. */
export function bullmq(on: 'redis' | 'postgres'): Contender {
  let options: QueueOptions;
  let queue: Queue<Payload>;
  let unfinished: () => Promise<boolean>;
  // The types tie the connection to the backend, which is chosen at run time here.
  const backend = (on === 'postgres' ? createPostgresBackend : undefined) as never;
  return {
    async open(address) {
      options = on === 'postgres' ? postgresOptions(address) : redisOptions(address);
      queue = new Queue<Payload>(QUEUE, options, backend);
      await queue.waitUntilReady();
      const inQueue = `queue = '${QUEUE}' and state =`;
      unfinished =
        on === 'postgres'
          ? existsIn(address.postgres, 'bullmq.job', `${inQueue} 'waiting'`, `${inQueue} 'active'`)
          : async () => (await queue.getJobCountByTypes('wait', 'active')) > 0;
    },
    async addBulk(payloads, { remove } = {}) {
      const opts = remove ? { opts: { removeOnComplete: true } } : {};
      await queue.addBulk(payloads.map((data) => ({ name: 'noop', data, ...opts })) as never);
    },
    async addOne(payload) {
      await queue.add('noop' as never, payload as never);
    },
    async work(handler, { purpose, concurrency = CONCURRENCY }) {
      const at = { concurrency: purpose === 'latency' ? 1 : concurrency };
      const worker = new Worker<Payload>(QUEUE, async (job) => handler(job.data), { ...options, ...at }, backend);
      worker.on('error', (error) => console.error(error));
      await worker.waitUntilReady();
    },
    unfinished: () => unfinished(),
    async countCompleted() {
      let completed = 0;
      const events = new QueueEvents(QUEUE, options, backend);
      events.on('completed', () => {
        completed++;
      });
      await events.waitUntilReady();
      return () => completed;
    },
    ...(on === 'postgres' && {
      fill: { waiting: rows('waiting', 'null, null'), completed: rows('completed', '1, 1') },
    }),
  };
}

const redisOptions = ({ redis }: Address): QueueOptions => ({
  connection: { host: '127.0.0.1', port: redis, maxRetriesPerRequest: null },
});

const postgresOptions = ({ postgres }: Address) =>
  ({ connection: { connectionString: postgres, max: 10, migrate: true } }) as unknown as QueueOptions;

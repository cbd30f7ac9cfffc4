import type { PgStore as Store, Queue as TheQueue } from '../../src/index.js';
import { type Contender, type Payload, SQL_PAYLOAD } from './contender.js';
import { existsIn } from './exists.js';

// The built package, as it is published. This file is joined into bench/dist, from where the path is the same.
const { PgStore, Queue, Worker } = (await import(
  new URL('../../dist/index.js', import.meta.url).href
)) as typeof import('../../src/index.js');

const QUEUE = 'bench';

const rows = (state: string, times: string) => `
  insert into conveyor_jobs (queue_name, id, name, data, state, completed_at, processed_at)
  select '${QUEUE}', '${state}-' || i, 'job', ${SQL_PAYLOAD}, '${state}', ${times} from generate_series(1, $count) i`;

export function conveyor(): Contender {
  let store: Store;
  let queue: TheQueue<Payload>;
  let unfinished: () => Promise<boolean>;
  return {
    async open(address) {
      const inQueue = `queue_name = '${QUEUE}' and state =`;
      unfinished = existsIn(address.postgres, 'conveyor_jobs', `${inQueue} 'waiting'`, `${inQueue} 'active'`);
      store = new PgStore({ connection: address.postgres });
      await store.connect();
      queue = new Queue<Payload>(QUEUE, { store });
    },
    async addBulk(payloads, { remove, groupOf } = {}) {
      if (!remove && !groupOf) {
        await queue.addBulk(payloads.map((data) => ({ name: 'job', data })));
        return;
      }
      const opts = (n: number) => ({
        ...(remove && { removeOnComplete: true }),
        ...(groupOf && { group: { id: groupOf(n) } }),
      });
      await queue.addBulk(payloads.map((data) => ({ name: 'job', data, opts: opts(data.n) })));
    },
    async addOne(data) {
      await queue.add('job', data);
    },
    async work(handler, { purpose, concurrency = 100, groups }) {
      const worker = new Worker<Payload>(QUEUE, async (job) => handler(job.data), {
        store,
        ...(purpose === 'throughput' && { concurrency }),
        ...(groups && { group: { concurrency: 2 } }),
      });
      worker.on('error', (error) => {
        throw error;
      });
    },
    unfinished: () => unfinished(),
    async countCompleted() {
      let completed = 0;
      store.subscribe(QUEUE, ({ type }) => {
        if (type === 'job:completed') completed++;
      });
      return () => completed;
    },
    fill: { waiting: rows('waiting', 'null, null'), completed: rows('completed', 'now(), now()') },
  };
}

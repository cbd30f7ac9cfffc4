import { PgStore, Queue, Worker } from '../src/index.js';
import type { Contender, Payload } from './contender.js';

const QUEUE = 'bench';

const rows = (state: string, times: string) => `
  insert into conveyor_jobs (queue_name, id, name, data, state, priority, completed_at, processed_at)
  select '${QUEUE}', '${state}-' || i, 'job', '{}', '${state}', 1, ${times} from generate_series(1, 1000000) i`;

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
    async addBulk(payloads, { remove, groupOf } = {}) {
      const optionsOf = (n: number) => ({
        ...(remove && { removeOnComplete: true }),
        ...(groupOf && { group: { id: groupOf(n) } }),
      });
      const opts = remove || groupOf ? optionsOf : undefined;
      await queue.addBulk(payloads.map((data) => ({ name: 'job', data, ...(opts && { opts: opts(data.n) }) })));
    },
    async addOne(data) {
      await queue.add('job', data);
    },
    async process(count, { concurrency, group }) {
      let settled = 0;
      await new Promise<void>((resolve, reject) => {
        const limits = group ? { group: { concurrency: 2 } } : {};
        worker = new Worker<Payload>(QUEUE, async () => {}, { store, concurrency, ...limits });
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
    async startMany(concurrency, onStart) {
      worker = new Worker<Payload>(QUEUE, async () => onStart(), { store, concurrency });
    },
    async unfinished(sql) {
      const [row] = await sql`select exists (select 1 from conveyor_jobs where state = 'waiting')
        or exists (select 1 from conveyor_jobs where state = 'active') as some`;
      return row?.['some'] ? 1 : 0;
    },
    async countCompleted() {
      let completed = 0;
      store.subscribe(QUEUE, ({ type }) => {
        if (type === 'job:completed') completed++;
      });
      return () => completed;
    },
    history: {
      completed: rows('completed', 'now(), now()'),
      // Their priority puts them behind the jobs that the bench adds.
      waiting: rows('waiting', 'null, null'),
    },
    async close() {
      await worker?.close();
      await store.disconnect();
    },
  };
}

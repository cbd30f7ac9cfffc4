import { PgBoss } from 'pg-boss';
import { type Contender, type Payload, SQL_PAYLOAD } from './contender.js';
import { existsIn } from './exists.js';

const QUEUE = 'bench';
/** Its default; more connections are not faster on few cores. */
const POOL = 10;
const WORKERS = 4;
const BATCH = 500;
/** Where groups limit a batch, so that it is still full: one that is not ends a burst. */
const GROUPED_BATCH = 25;

const rows = (state: string, times: string) => `
  insert into pgboss.job (name, data, state, policy, started_on, completed_on)
  select '${QUEUE}', ${SQL_PAYLOAD}, '${state}', 'standard', ${times} from generate_series(1, $count) i`;

/**
 * A burst fetches without a pause for as long as batches are full. Jobs at once are what a handler makes of its batch,
 * so a lower concurrency has fewer workers, not smaller batches.
 */
const throughput = (concurrency: number, groups: boolean) => ({
  localConcurrency: Math.min(WORKERS, concurrency),
  batchSize: groups ? GROUPED_BATCH : BATCH,
  burstWhenBatchFull: true,
  notifyPollingIntervalSeconds: 0.5,
});

/** Its own maintenance is off, and LISTEN is on. */
export function pgBoss(): Contender {
  let boss: PgBoss;
  let unfinished: () => Promise<boolean>;
  return {
    async open({ postgres }) {
      const inQueue = `name = '${QUEUE}' and state =`;
      unfinished = existsIn(postgres, 'pgboss.job', `${inQueue} 'created'`, `${inQueue} 'active'`);
      boss = new PgBoss({
        connectionString: postgres,
        max: POOL,
        useListenNotify: true,
        supervise: false,
        schedule: false,
        registerInstance: false,
      });
      boss.on('error', (error) => console.error(error));
      await boss.start();
      if (!(await boss.getQueue(QUEUE))) await boss.createQueue(QUEUE, { notify: true });
    },
    async addBulk(payloads, { groupOf } = {}) {
      await boss.insert(
        QUEUE,
        payloads.map((data) => ({ data, ...(groupOf && { group: { id: groupOf(data.n) } }) })),
      );
    },
    async addOne(payload) {
      await boss.send(QUEUE, payload);
    },
    async work(handler, { purpose, concurrency = WORKERS, groups = false }) {
      const options = purpose === 'latency' ? { batchSize: 1 } : throughput(concurrency, groups);
      await boss.work<Payload>(
        QUEUE,
        { pollingIntervalSeconds: 0.5, ...options, ...(groups && { groupConcurrency: 2 }) },
        async (jobs) => {
          for (const job of jobs) handler(job.data);
        },
      );
    },
    unfinished: () => unfinished(),
    fill: { waiting: rows('created', 'null, null'), completed: rows('completed', 'now(), now()') },
  };
}

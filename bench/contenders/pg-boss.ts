import { PgBoss } from 'pg-boss';
import { type Contender, type Payload, SQL_PAYLOAD } from './contender.js';

const QUEUE = 'bench';
const WORKERS = 4;
const BATCH = 500;

const rows = (state: string, times: string) => `
  insert into pgboss.job (name, data, state, policy, started_on, completed_on)
  select '${QUEUE}', ${SQL_PAYLOAD}, '${state}', 'standard', ${times} from generate_series(1, $count) i`;

/** Its own maintenance is off, and LISTEN is on. */
export function pgBoss(): Contender {
  let boss: PgBoss;
  return {
    async open({ postgres }) {
      boss = new PgBoss({
        connectionString: postgres,
        max: 10,
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
    async work(handler, { purpose, concurrency = WORKERS * BATCH, groups }) {
      const workers = Math.min(WORKERS, concurrency);
      const options =
        purpose === 'latency'
          ? { batchSize: 1 }
          : { batchSize: Math.ceil(concurrency / workers), localConcurrency: workers, burstWhenBatchFull: true };
      await boss.work<Payload>(
        QUEUE,
        { pollingIntervalSeconds: 0.5, ...options, ...(groups && { groupConcurrency: 2 }) },
        async (jobs) => {
          for (const job of jobs) handler(job.data);
        },
      );
    },
    async unfinished() {
      const { rows } = await boss.getDb().executeSql(
        `select exists (select from pgboss.job where name = '${QUEUE}' and state = 'created')
          or exists (select from pgboss.job where name = '${QUEUE}' and state = 'active') as some`,
        [],
      );
      return rows[0].some;
    },
    fill: { waiting: rows('created', 'null, null'), completed: rows('completed', 'now(), now()') },
  };
}

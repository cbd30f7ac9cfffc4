import { Logger, makeWorkerUtils, run, type WorkerUtils } from 'graphile-worker';
import pg from 'pg';
import { type Contender, type Payload, SQL_PAYLOAD } from './contender.js';
import { existsIn } from './exists.js';

const logger = new Logger(() => () => {});

/** What https://worker.graphile.org/docs/performance gives as its configuration; the batching options are off by default. */
const TUNED = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const CONCURRENCY = 24;

export function graphileWorker(tuned: boolean): Contender {
  let pool: pg.Pool;
  let utils: WorkerUtils;
  let unfinished: () => Promise<boolean>;
  return {
    async open({ postgres }) {
      // It deletes what has completed.
      unfinished = existsIn(postgres, 'graphile_worker._private_jobs', 'true');
      pool = new pg.Pool({ connectionString: postgres, max: CONCURRENCY + 1 });
      const report = (error: Error) => console.error(error);
      pool.on('error', report).on('connect', (client) => void client.on('error', report));
      utils = await makeWorkerUtils({ pgPool: pool, logger });
      await utils.migrate();
    },
    async addBulk(payloads) {
      await utils.addJobs(payloads.map((payload) => ({ identifier: 'noop', payload })));
    },
    async addOne(payload) {
      await utils.addJob('noop', payload);
    },
    async work(handler, { concurrency = CONCURRENCY }) {
      await run({
        pgPool: pool,
        logger,
        noHandleSignals: true,
        taskList: { noop: async (payload) => handler(payload as Payload) },
        preset: { worker: { concurrentJobs: concurrency, ...(tuned && TUNED) } },
      });
    },
    unfinished: () => unfinished(),
    fill: {
      waiting: `
        with task as (
          insert into graphile_worker._private_tasks (identifier) values ('noop')
          on conflict (identifier) do update set identifier = excluded.identifier returning id)
        insert into graphile_worker._private_jobs (task_id, payload)
        select task.id, ${SQL_PAYLOAD} from task, generate_series(1, $count) i`,
    },
  };
}

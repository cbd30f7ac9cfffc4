/** Rules that several statements share, where their copies had begun to differ. */
import { beforeAll, expect, it } from 'vitest';
import { PgStore } from '../../src/index.js';
import { failOne } from '../../src/store/change/end.js';
import { getJob } from '../../src/store/read/find.js';
import { MAX_ATTEMPT_RECORDS } from '../../src/store/rules/attempt-record.js';
import { settle } from '../../src/store/settle/settle.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { childOf, flowOf, jobIn, newQueue } from '../support/rows.js';
import { claimAll, claimSome, endOf, settleWith, statesOf } from '../support/settling.js';

const database = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = await openStore(database.url);
  return () => store.disconnect();
});

it('a parent that fails with its child is deleted at once by removeOnFail: 0, as every other job is', async () => {
  const queue = newQueue();
  const root = jobIn('waiting-children', { id: 'root', queueName: queue, opts: { removeOnFail: 0 } });
  await store.saveFlow(flowOf(root, [childOf(root, 'child')]));
  const claimed = await claimAll(store, queue);
  await settleWith(store, endOf(claimed.get('child'), 'failed'));
  expect(await statesOf(database.sql)).toEqual({ child: 'failed' });
});

it('a job that is failed by hand keeps the newest attempt records and stack traces, no more than others', async () => {
  const queue = newQueue();
  const records = Array.from({ length: MAX_ATTEMPT_RECORDS }, (_, i) => ({
    attempt: i + 1,
    startedAt: new Date().toISOString(),
    endedAt: new Date().toISOString(),
    status: 'failed' as const,
    error: 'earlier',
    stacktrace: null,
    logs: [],
  }));
  await store.saveJob(
    queue,
    jobIn('active', {
      id: 'often',
      attemptsMade: MAX_ATTEMPT_RECORDS,
      attemptLogs: records,
      stacktrace: records.map(({ error }) => error),
    }),
  );
  await failOne(store.engine.executor, queue, 'often', 'by hand', 'a stack', null);
  const job = (await getJob(store.engine.executor, queue, 'often'))?.job;
  expect(job?.attemptLogs).toHaveLength(MAX_ATTEMPT_RECORDS);
  expect(job?.attemptLogs.at(-1)).toMatchObject({ attempt: MAX_ATTEMPT_RECORDS + 1, error: 'by hand' });
  expect(job?.stacktrace).toHaveLength(MAX_ATTEMPT_RECORDS);
  expect(job?.stacktrace.at(-1)).toBe('a stack');
});

it('batches that cross lock their jobs in one order, whatever plan they run on', async () => {
  // A hash join over a table that seems tiny answers in the order of the batch.
  await database.sql`update pg_class set reltuples = 1, relpages = 100000 where relname = 'conveyor_jobs'`;
  const planner = { enable_nestloop: 'off', enable_mergejoin: 'off', enable_hashjoin: 'on' };
  const { hostname: host, port, username, password, pathname } = new URL(database.url);
  const connection = { host, port: Number(port), username, password, database: pathname.slice(1), connection: planner };
  const stores = [0, 1].map(() => new PgStore({ connection, autoMigrate: false, listen: false }));
  await Promise.all(stores.map((each) => each.connect()));
  const queue = newQueue();
  for (let round = 0; round < 10; round++) {
    await store.saveBulk(
      queue,
      Array.from({ length: 300 }, () => jobIn('waiting')),
    );
    const batch = (await claimSome(store, queue, 300)).map((stored) => endOf(stored, 'retry', { delayMs: 0 }));
    const [first, second] = await Promise.all(
      stores.map((each, i) =>
        settle(each.engine.executor, i === 0 ? batch : [...batch].reverse(), { metrics: false, shard: 0 }),
      ),
    );
    const settled = [...(first?.outcomes ?? []), ...(second?.outcomes ?? [])].filter((one) => one !== undefined);
    expect(settled).toHaveLength(300);
    await store.drain(queue);
  }
  // Sessions report what happened to them when they end.
  await Promise.all(stores.map((each) => each.disconnect()));
  const [row] = await database.sql`select deadlocks::int from pg_stat_database where datname = current_database()`;
  expect(row?.['deadlocks']).toBe(0);
});

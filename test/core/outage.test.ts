import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { randomPause } from '../support/pauses.js';
import { record, usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { startProxy } from '../support/proxy.js';
import { countStatements, onStatements, untilAsleep } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

const many = (count: number, opts = {}) => Array.from({ length: count }, (_, data) => ({ name: 'work', data, opts }));

const terminate = (which: string) =>
  play.database.sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'conveyor' and ${which}`);

it('connections that are killed all the time lose nothing, and run nothing twice', async () => {
  const stores = [await play.open(), await play.open()] as const;
  const queue = play.queue<number>(stores[0]);
  const runs = new Map<number, number>();
  const workers = stores.map((store) =>
    play.worker(
      queue,
      store,
      async (job) => {
        const n = job.data as number;
        runs.set(n, (runs.get(n) ?? 0) + 1);
        await randomPause(10);
        return n;
      },
      { concurrency: 20 },
    ),
  );
  workers.map(record);
  // However fast the machine is: jobs for as long as connections are killed.
  let added = 0;
  const addMore = async () => {
    await queue.addBulk(many(500).map((job) => ({ ...job, data: added++ })));
  };
  for (let kills = 0; kills < 6; kills++) {
    await addMore();
    await terminate('true');
    await randomPause(200);
  }
  await until(async () => (await queue.count('completed')) === added, { timeout: 20_000 });
  expect(runs.size).toBe(added);
  expect([...runs.values()].filter((count) => count !== 1)).toEqual([]);
  const [row] = await play.database.sql`select max(attempts_made) as attempts, max(stalled_count) as stalled
    from conveyor_jobs where queue_name = ${queue.name}`;
  expect(row).toEqual({ attempts: 0, stalled: 0 });
});

it('a database that goes away and comes back loses nothing', async () => {
  const proxy = await startProxy(play.database.url);
  const [near, far] = [await play.open(), await play.open({ connection: proxy.url })];
  const queue = play.queue(near);
  let runs = 0;
  const worker = play.worker(
    queue,
    far,
    async () => {
      runs++;
      await randomPause(40);
    },
    { concurrency: 10, lockDuration: 60_000 },
  );
  record(worker);
  await queue.addBulk(many(300));
  for (let outage = 0; outage < 2; outage++) {
    await until(async () => (await queue.count('completed')) > outage * 50 + 20, { timeout: 20_000 });
    const refused = proxy.refused();
    proxy.cut();
    await until(() => proxy.refused() >= refused + 3);
    proxy.mend();
  }
  await until(async () => (await queue.count('completed')) === 300, { timeout: 20_000 });
  expect(runs).toBe(300);
  await worker.close();
  await far.disconnect();
  await proxy.close();
});

it('2,000 waits over two processes end within 2 s of completion, though LISTEN is killed every second', async () => {
  const store = await play.open();
  const queue = play.queue<number>(store);
  const script = spawnScript(new URL('./waiting.script.ts', import.meta.url), {
    args: [play.database.url, queue.name, '1000'],
  });
  await script.waitFor((line) => line === 'ready');
  let listening = true;
  const killing = (async () => {
    while (listening) {
      await terminate(`query ilike 'listen %'`);
      // The rate that the guarantee names.
      await sleep(1_000);
    }
  })();
  // About 500 a second, so that the killings fall into the time of the waits.
  play.worker(
    queue,
    store,
    async ({ data }) => {
      await randomPause(40);
      return data;
    },
    { concurrency: 10 },
  );
  script.send('go');
  const jobs = await queue.addBulk(many(1_000));
  const ended = await Promise.all(
    jobs.map(async (job) => {
      const result = await job.waitUntilFinished();
      expect(result).toBe(job.data);
      return [job.id, Date.now()] as const;
    }),
  );
  const { theirs } = await script.waitFor<{ theirs: [string, number][] }>((line) => line.theirs !== undefined);
  listening = false;
  await killing;
  const rows = await play.database.sql`select id, completed_at from conveyor_jobs where queue_name = ${queue.name}`;
  const completed = new Map(rows.map(({ id, completed_at }) => [id as string, (completed_at as Date).getTime()]));
  const late = [...ended, ...theirs].map(([id, at]) => at - (completed.get(id) as number));
  expect(late).toHaveLength(2_000);
  expect(Math.max(...late)).toBeLessThan(2_000);
  await script.kill();
});

it('a claim that fails for long is made again as soon as the database is heard of', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let failures = 0;
  const restore = onStatements(store, (name, run) => {
    if (!/^claim/.test(name)) return run();
    failures++;
    return Promise.reject(new Error('away'));
  });
  const worker = play.worker(queue, store, () => 'done');
  record(worker);
  // By now the next try would come in seconds.
  await until(() => failures === 6);
  restore();
  const job = await queue.add('work', null);
  const began = performance.now();
  expect(await job.waitUntilFinished()).toBe('done');
  expect(performance.now() - began).toBeLessThan(1_000);
});

it('jobs that were added while LISTEN was away run when it is back, not at the next poll', async () => {
  const proxy = await startProxy(play.database.url);
  const [near, far] = [await play.open(), await play.open({ connection: proxy.url })];
  const queue = play.queue(near);
  const statements = countStatements(far);
  record(play.worker(queue, far, () => 'ran'));
  await untilAsleep(statements);
  proxy.cut();
  const job = await queue.add('work', null);
  await near.engine.notifier.flush();
  proxy.mend();
  expect(await job.waitUntilFinished('5s')).toBe('ran');
  await far.disconnect();
  await proxy.close();
});

import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { expect, it, vi } from 'vitest';
import { ClosedError, PgStore, Queue, Worker } from '../../src/index.js';
import { newName, record, recordingLogger, rowOf, usePlayground } from '../support/playground.js';
import { countStatements, onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();
const many = (count: number) => Array.from({ length: count }, (_, data) => ({ name: 'work', data }));

it('has the defaults that it says: a lease of 30 s, and one stall forgiven', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise);
  expect([worker.queueName, worker.on('active', () => {})]).toEqual([queue.name, worker]);
  expect(worker.id).toMatch(/^worker-/);
  const job = await queue.add('work', null);
  const row = await until(async () => {
    const found = await rowOf(play, job);
    return found?.['state'] === 'active' && found;
  });
  expect(row['locked_by']).toBe(worker.id);
  expect(Number(row['lock_until']) - Number(row['processed_at'])).toBe(30_000);
  release.resolve();
  await job.waitUntilFinished();
  for (const [stalls, end] of [
    [0, 'completed'],
    [1, 'failed'],
  ] as const) {
    const lost = await queue.add('work', null, { delay: 3_600_000 });
    await play.database.sql`update conveyor_jobs set state = 'active', stalled_count = ${stalls},
      started_lease = lease, started_alone = true where id = ${lost.id}`;
    store.engine.poller.poll();
    await until(async () => (await queue.getJob(lost.id))?.state === end);
  }
});

it('autoStart false waits for start()', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  const statements = countStatements(store);
  const worker = play.worker(queue, store, async () => 'ran', { autoStart: false });
  await queue.getJob(job.id);
  expect(statements.count(/^claim/)).toBe(0);
  worker.start();
  expect(await job.waitUntilFinished()).toBe('ran');
});

it('may be made before the store is connected', async () => {
  const store = new PgStore({ connection: play.database.url, autoMigrate: false });
  const name = newName();
  const worker = new Worker(name, async () => 'ran', { store });
  await store.connect();
  expect(await (await new Queue(name, { store }).add('work', null)).waitUntilFinished()).toBe('ran');
  await worker.close();
  await store.disconnect();
});

it('closed before the store is connected it never starts', async () => {
  const store = new PgStore({ connection: play.database.url, autoMigrate: false });
  const name = newName();
  const worker = new Worker(name, async () => 'ran', { store });
  await worker.close();
  await store.connect();
  const statements = countStatements(store);
  await new Queue(name, { store }).add('work', null);
  expect(statements.count(/^claim/)).toBe(0);
  expect([store.engine.poller.queues(), store.engine.notifier.channels()]).toEqual([[], []]);
  await store.disconnect();
});

it('goes down with its store, and comes back with it', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const worker = play.worker(queue, store, () => 'ran');
  record(worker);
  expect(await (await queue.add('work', null)).waitUntilFinished()).toBe('ran');
  for (let round = 0; round < 2; round++) {
    await store.disconnect();
    expect(store.engine.poller.queues()).toEqual([]);
    await store.connect();
    expect(await (await queue.add('work', null)).waitUntilFinished()).toBe('ran');
    expect(store.engine.poller.queues()).toEqual([queue.name]);
  }
});

it('start, pause and resume, however often, do not double anything', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let running = 0;
  let most = 0;
  const worker = play.worker(queue, store, async () => {
    most = Math.max(most, ++running);
    // Longer than a claim takes.
    await queue.count('active');
    running--;
  });
  const heard = record(worker);
  worker.start();
  worker.start();
  await worker.pause();
  await worker.pause();
  worker.resume();
  worker.resume();
  worker.start();
  void worker.pause();
  worker.resume();
  await queue.addBulk(many(30));
  await until(() => heard.completed.length === 30);
  expect(most).toBe(1);
  expect(store.engine.poller.queues()).toEqual([queue.name]);
  // And closed it leaves nothing behind.
  await worker.close();
  expect([store.engine.poller.queues(), store.engine.notifier.channels()]).toEqual([[], []]);
});

it('paused it starts nothing, what runs goes on, and what it had taken goes back unharmed', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const ran: unknown[] = [];
  const worker = play.worker(
    queue,
    store,
    async (job) => {
      ran.push(job.data);
      if (job.data === 'slow') await release.promise;
    },
    { autoStart: false },
  );
  // Short ones first, so that others are taken ahead while the slow one runs.
  await queue.addBulk([...many(100), { name: 'work', data: 'slow' }, ...many(50)]);
  worker.start();
  await until(() => ran.includes('slow'));
  await worker.pause();
  const count = ran.length;
  const statements = countStatements(store);
  await until(async () => (await queue.count('active')) === 1);
  expect(await queue.count('waiting')).toBe(50);
  release.resolve();
  await until(async () => (await queue.count('completed')) === 101);
  await queue.add('work', 'one more');
  expect(ran.length).toBe(count);
  expect(statements.count(/^claim/)).toBe(0);
  worker.resume();
  await until(async () => (await queue.count('completed')) === 152);
  expect(
    await play.database.sql`select 1 from conveyor_jobs
    where queue_name = ${queue.name} and (attempts_made > 0 or stalled_count > 0)`,
  ).toHaveLength(0);
});

it('a claim that was under way when it was paused gives its jobs back', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  const claiming = deferred();
  const go = deferred();
  const restore = onStatements(store, async (name, run) => {
    if (!/^claim/.test(name)) return run();
    restore();
    const answer = await run();
    claiming.resolve();
    await go.promise;
    return answer;
  });
  let runs = 0;
  const worker = play.worker(queue, store, async () => void runs++);
  await claiming.promise;
  const paused = worker.pause();
  go.resolve();
  await paused;
  await until(async () => (await queue.getJob(job.id))?.state === 'waiting');
  expect(runs).toBe(0);
  worker.resume();
  await job.waitUntilFinished();
  expect(runs).toBe(1);
});

it('closed it cannot be started or resumed', async () => {
  const store = await play.open();
  const worker = play.worker(play.queue(store), store, async () => {});
  await worker.close();
  expect(() => worker.start()).toThrow(ClosedError);
  expect(() => worker.resume()).toThrow(ClosedError);
  await worker.pause();
  await worker.close();
});

it('a claim that fails is tried again, and said', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let failures = 0;
  onStatements(store, async (name, run) => {
    if (/^claim/.test(name) && failures < 3) {
      failures++;
      throw new Error('no claim today');
    }
    return run();
  });
  const heard = record(play.worker(queue, store, async () => 'ran'));
  const job = await queue.add('work', null);
  expect(await job.waitUntilFinished()).toBe('ran');
  expect(heard.errors.map(({ message }) => message)).toEqual(Array(3).fill('no claim today'));
});

it('claims that fail are made again after longer and longer pauses', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const failures: number[] = [];
  onStatements(store, (name, run) => {
    if (!/^claim/.test(name)) return run();
    failures.push(performance.now());
    return Promise.reject(new Error('no claim today'));
  });
  record(play.worker(queue, store, () => 'ran'));
  await until(() => failures.length === 5);
  // Nominally 100 ms, then twice as long each time, from half of that to one and a half.
  for (const [i, least] of [50, 100, 200, 400].entries()) {
    expect((failures[i + 1] as number) - (failures[i] as number)).toBeGreaterThan(least - 5);
  }
});

it('jobs of a claim whose answer was lost go back unharmed', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let lost = 0;
  onStatements(store, async (name, run) => {
    const answer = await run();
    if (/^claim/.test(name) && (answer as unknown[]).length > 0 && lost < 2) {
      lost++;
      throw new Error('the connection broke');
    }
    return answer;
  });
  play.worker(queue, store, async ({ attemptsMade }) => attemptsMade, { concurrency: 10 });
  const jobs = await queue.addBulk(many(5));
  expect(await Promise.all(jobs.map((job) => job.waitUntilFinished()))).toEqual([0, 0, 0, 0, 0]);
  expect(lost).toBe(2);
  const [row] = await play.database
    .sql`select max(stalled_count) as stalled from conveyor_jobs where queue_name = ${queue.name}`;
  expect(row).toEqual({ stalled: 0 });
});

it('and no others do: neither what it holds nor what other workers hold', async () => {
  const [store, elsewhere] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const release = deferred();
  const run = async ({ attemptsMade }: { attemptsMade: number }) => {
    await release.promise;
    return attemptsMade;
  };
  const other = record(play.worker(queue, elsewhere, run));
  const [first] = await queue.addBulk(many(1));
  await until(() => other.active.length === 1);
  let [losing, lost] = [false, 0];
  // From the start: a claim that is already under way may be the one that takes the third job.
  onStatements(store, async (name, run) => {
    const answer = await run();
    if (!losing || !/^claim/.test(name) || (answer as unknown[]).length === 0 || lost++ > 0) return answer;
    throw new Error('the connection broke');
  });
  const worker = play.worker(queue, store, run, { concurrency: 2 });
  const heard = record(worker);
  const [second] = await queue.addBulk(many(1));
  await until(() => heard.active.length === 1);
  losing = true;
  const [third] = await queue.addBulk(many(1));
  await until(() => heard.active.length === 2);
  expect(lost).toBeGreaterThan(0);
  release.resolve();
  for (const job of [first, second, third]) expect(await job?.waitUntilFinished()).toBe(0);
  expect(other.active).toEqual([first?.id]);
  expect(heard.active).toEqual([second?.id, third?.id]);
  expect([...other.errors, ...heard.errors].map(({ message }) => message)).toEqual(['the connection broke']);
});

it('warns of a client with fewer connections than its handlers may hold', async () => {
  const client = postgres(play.database.url, { max: 5, onnotice: () => {} });
  const { lines, logger } = recordingLogger();
  const store = new PgStore({ db: drizzle(client), autoMigrate: false, logger });
  await store.connect();
  const [small, large] = [3, 4].map((concurrency) => new Worker(newName(), () => {}, { store, concurrency }));
  await until(() => lines.length > 0);
  await Promise.all([small?.close(), large?.close()]);
  expect(lines).toMatchObject([{ level: 'warn', message: expect.stringMatching(/concurrency: 4.*max: 5.*max to 6/) }]);
  await store.disconnect();
  await client.end();
});

it('a worker whose store is not connected says so, unless it is closed before', async () => {
  const { lines, logger } = recordingLogger();
  const store = new PgStore({ connection: play.database.url, logger });
  vi.useFakeTimers();
  try {
    const [, closed] = ['queue-0', 'queue-1'].map((name) => new Worker(name, () => {}, { store }));
    await closed!.close();
    await vi.advanceTimersByTimeAsync(5_000);
  } finally {
    vi.useRealTimers();
  }
  expect(lines.map(({ level, message }) => [level, message])).toEqual([
    ['warn', expect.stringMatching(/"queue-0" has not started, because its store is not connected.*store.connect\(\)/)],
  ]);
});

it('a job that fails without a listener is logged, and with one it is not', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const fail = async () => Promise.reject(new Error('on purpose'));
  const silent = play.worker(queue, store, fail);
  const job = await queue.add('work', null, { attempts: 2 });
  await expect(job.waitUntilFinished()).rejects.toThrow('on purpose');
  await silent.close();
  expect(play.said.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
    `conveyor: job "${job.id}" (work) of queue "${queue.name}" failed: on purpose`,
  ]);
  play.said.length = 0;
  record(play.worker(queue, store, fail));
  await expect((await queue.add('work', null)).waitUntilFinished()).rejects.toThrow('on purpose');
  expect(play.said).toEqual([]);
});

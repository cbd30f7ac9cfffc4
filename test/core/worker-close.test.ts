import { describe, expect, it } from 'vitest';
import { ClosedError, ConnectionError } from '../../src/index.js';
import { randomPause } from '../support/pauses.js';
import { newName, record, rowOf, usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { startProxy } from '../support/proxy.js';
import { countStatements, isSettling, onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();
const many = (count: number, data: unknown = null) => Array.from({ length: count }, () => ({ name: 'work', data }));
const hang = () => new Promise<never>(() => {});

it('waits for what runs', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred<string>();
  const worker = play.worker(queue, store, () => release.promise);
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => heard.active.length === 1);
  let closed = false;
  const closing = worker.close().then(() => {
    closed = true;
  });
  expect(worker.close()).toBe(worker.close());
  await queue.count('active');
  expect(closed).toBe(false);
  release.resolve('done');
  await closing;
  expect(await queue.getJob(job.id)).toMatchObject({ state: 'completed', returnvalue: 'done' });
  expect(heard.completed).toEqual([{ id: job.id, result: 'done' }]);
});

describe('no job starts after close() was called', () => {
  it('at whatever moment that is', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.addBulk(many(600));
    for (let round = 0; round < 25; round++) {
      let closed = false;
      let late = 0;
      const worker = play.worker(
        queue,
        store,
        async () => {
          if (closed) late++;
        },
        { concurrency: 4 },
      );
      await randomPause(12);
      closed = true;
      await worker.close();
      expect(late).toBe(0);
      expect(await queue.count('active')).toBe(0);
    }
    const [row] = await play.database.sql`select max(attempts_made) as attempts, max(stalled_count) as stalled,
      count(*)::int as count from conveyor_jobs where queue_name = ${queue.name}`;
    expect(row).toEqual({ attempts: 0, stalled: 0, count: 600 });
  });

  it('not by a claim that was under way', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const [job] = await queue.addBulk(many(3));
    const claiming = deferred();
    const go = deferred();
    onStatements(store, async (name, run) => {
      if (!/^claim/.test(name)) return run();
      const answer = await run();
      claiming.resolve();
      await go.promise;
      return answer;
    });
    let runs = 0;
    const worker = play.worker(queue, store, async () => void runs++, { concurrency: 3 });
    await claiming.promise;
    const closing = worker.close();
    go.resolve();
    await closing;
    expect(runs).toBe(0);
    expect(await queue.count('waiting')).toBe(3);
    expect(await rowOf(play, job as never)).toMatchObject({
      locked_by: null,
      lock_until: null,
      attempts_made: 0,
      stalled_count: 0,
    });
  });

  it('not while its data is being checked', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const checking = deferred();
    const go = deferred();
    const slow = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async (value: unknown) => {
          checking.resolve();
          await go.promise;
          return { value };
        },
      },
    };
    let runs = 0;
    const worker = play.worker(queue, store, async () => void runs++, { schemas: { work: slow } });
    const job = await queue.add('work', null);
    await checking.promise;
    const closing = worker.close();
    go.resolve();
    await closing;
    expect(runs).toBe(0);
    expect(await queue.getJob(job.id)).toMatchObject({ state: 'waiting', attemptsMade: 0 });
  });

  it('not even when an active listener closes it', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    let runs = 0;
    const worker = play.worker(queue, store, async () => void runs++, { autoStart: false });
    const closed = deferred<void>();
    worker.on('active', () => closed.resolve(worker.close()));
    const [job] = await queue.addBulk(many(3));
    const statements = countStatements(store);
    worker.start();
    await closed.promise;
    expect(runs).toBe(0);
    // And no other is even taken.
    expect(statements.count(/^claim/)).toBe(1);
    expect(await queue.getJob(job?.id ?? '')).toMatchObject({ state: 'waiting', attemptsMade: 0 });
  });

  it('not when the answer of the last claim was lost', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null);
    const lost = deferred();
    onStatements(store, async (name, run) => {
      const answer = await run();
      if (!/^claim/.test(name)) return answer;
      lost.resolve();
      throw new Error('the connection broke');
    });
    const worker = play.worker(queue, store, async () => {});
    record(worker);
    await lost.promise;
    await worker.close();
    expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', locked_by: null, stalled_count: 0 });
  });
});

describe('after forceTimeout', () => {
  it('the signals abort and the leases are given back, without using up an attempt', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const reasons: unknown[] = [];
    const worker = play.worker(
      queue,
      store,
      (_job, signal) => {
        signal.addEventListener('abort', () => reasons.push(signal.reason));
        return hang();
      },
      { concurrency: 3 },
    );
    const heard = record(worker);
    await queue.addBulk(many(3));
    await until(() => heard.active.length === 3);
    const began = performance.now();
    await worker.close(100);
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(reasons).toEqual([expect.any(ClosedError), expect.any(ClosedError), expect.any(ClosedError)]);
    expect(await queue.count('waiting')).toBe(3);
    const [row] = await play.database.sql`select max(attempts_made) as attempts, max(stalled_count) as stalled
      from conveyor_jobs where queue_name = ${queue.name}`;
    expect(row).toEqual({ attempts: 0, stalled: 0 });
  });

  it('they keep their places: the next worker takes them before those that waited behind', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const first = play.worker(queue, store, hang, { concurrency: 2 });
    const heard = record(first);
    await queue.addBulk([1, 2, 3].map((data) => ({ name: 'work', data })));
    await until(() => heard.active.length === 2);
    await first.close(0);
    const ran: unknown[] = [];
    play.worker(queue, store, async ({ data }) => void ran.push(data));
    await until(() => ran.length === 3);
    expect(ran).toEqual([1, 2, 3]);
  });

  it('what such a handler returns later changes nothing', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const release = deferred<string>();
    const worker = play.worker(queue, store, () => release.promise);
    const heard = record(worker);
    const job = await queue.add('work', null);
    await until(() => heard.active.length === 1);
    await worker.close(0);
    release.resolve('too late');
    await release.promise;
    const other = play.worker(queue, await play.open(), async () => 'second');
    const [first] = [heard, record(other)];
    expect(await job.waitUntilFinished()).toBe('second');
    expect(first.completed).toEqual([]);
  });

  it('a deploy uses up no attempts: ten in a row', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.add('work', null, { attempts: 1 });
    for (let deploy = 0; deploy < 10; deploy++) {
      const worker = play.worker(queue, store, hang);
      const heard = record(worker);
      await until(() => heard.active.length === 1);
      await worker.close(0);
    }
    play.worker(queue, store, async ({ attemptsMade }) => attemptsMade);
    expect(await job.waitUntilFinished()).toBe(0);
  });
});

it('ends in time also when the database does not answer, and then tries no more', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let claims = 0;
  const settled: string[] = [];
  onStatements(store, (name, run, values) => {
    if (isSettling(name)) {
      settled.push(JSON.stringify(values));
      return Promise.reject(new ConnectionError('away'));
    }
    // The first claim of the queue has the job.
    return /^claim/.test(name) && values['queue'] === queue.name && ++claims > 1 ? hang() : run();
  });
  const job = await queue.add('work', null);
  const worker = play.worker(queue, store, async () => 'done', { concurrency: 2 });
  const heard = record(worker);
  await until(() => heard.active.length === 1 && settled.length > 0);
  await queue.add('work', null);
  await until(() => claims === 2);
  const began = performance.now();
  await worker.close(100);
  expect(performance.now() - began).toBeLessThan(10_000);
  await until(() => heard.errors.length > 0);
  const tries = settled.length;
  // While the settlement of another worker is tried three times, that of the closed one is not.
  const other = play.queue(store);
  const { id } = await other.add('work', null);
  record(play.worker(other, store, () => 'done'));
  await until(() => settled.filter((values) => values.includes(id)).length === 3);
  expect(settled.filter((values) => values.includes(job.id))).toHaveLength(tries);
  expect(heard.completed).toEqual([]);
  expect(await job.isActive()).toBe(true);
});

it('takes less than its limit, also while the database is away', async () => {
  const proxy = await startProxy(play.database.url);
  const store = await play.open({ connection: proxy.url });
  const queue = play.queue(store);
  const worker = play.worker(queue, store, hang, { concurrency: 2 });
  const heard = record(worker);
  await queue.add('work', null);
  await until(() => heard.active.length === 1);
  proxy.cut();
  await until(() => proxy.refused() >= 2, { timeout: 20_000 });
  const began = performance.now();
  await worker.close(3_000);
  // With room for a busy machine; it took 10 to 13 s when it waited for the server.
  expect(performance.now() - began).toBeLessThan(9_000);
  proxy.mend();
  await store.disconnect();
  await proxy.close();
});

describe('disconnecting the store', () => {
  it('waits for the jobs that its workers run', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const release = deferred<string>();
    const worker = play.worker(queue, store, () => release.promise);
    const heard = record(worker);
    const jobs = await queue.addBulk(many(2));
    await until(() => heard.active.length === 1);
    const disconnected = store.disconnect();
    const elsewhere = play.queue(await play.open());
    await elsewhere.count('active');
    release.resolve('done');
    await disconnected;
    expect(heard.completed).toEqual([{ id: jobs[0]?.id, result: 'done' }]);
    const states = await play.database.sql`select state, attempts_made as attempts, locked_by from conveyor_jobs
      where queue_name = ${queue.name} order by seq`;
    expect(states).toEqual([
      expect.objectContaining({ state: 'completed' }),
      { state: 'waiting', attempts: 0, locked_by: null },
    ]);
  });

  it('waits for a worker that is closing already', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const release = deferred<string>();
    const worker = play.worker(queue, store, () => release.promise);
    const heard = record(worker);
    await queue.add('work', null);
    await until(() => heard.active.length === 1);
    const closed = worker.close();
    const disconnected = store.disconnect();
    release.resolve('done');
    await Promise.all([closed, disconnected]);
    expect(heard.completed).toMatchObject([{ result: 'done' }]);
  });
});

describe('a process', () => {
  it.each(['idle', 'busy', 'forced', 'not closed workers'])('ends by itself afterwards: %s', async (how) => {
    const script = spawnScript(new URL('./closing-worker.script.ts', import.meta.url), {
      args: [play.database.url, newName(), how],
    });
    await script.waitFor((line) => line === 'closed');
    const closed = performance.now();
    expect(await script.exit, script.said()).toBe(0);
    expect(performance.now() - closed).toBeLessThan(5_000);
  });

  it.each(['listening', 'polling'])(
    'lives as long as its worker runs, also while the database is away: %s',
    async (how) => {
      const store = await play.open();
      const proxy = await startProxy(play.database.url);
      const queue = play.queue(store);
      const args = [proxy.url, queue.name, how];
      const script = spawnScript(new URL('./idle-worker.script.ts', import.meta.url), { args });
      await script.waitFor((line) => line === 'idle');
      proxy.cut();
      await until(() => proxy.refused() >= 3, { timeout: 20_000 });
      expect(script.child.exitCode, script.said()).toBeNull();
      proxy.mend();
      const { id } = await queue.add('work', null);
      await script.waitFor(({ ran }: { ran: string }) => ran === id);
      await script.kill();
      await proxy.close();
    },
  );
});

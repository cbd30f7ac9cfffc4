import { expect, it } from 'vitest';
import { LeaseLostError } from '../../src/index.js';
import { record, untilRenewed, usePlayground } from '../support/playground.js';
import { countStatements, onStatements, untilAsleep } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

it('renews its leases: a job that takes longer than its lease runs once, though others sweep', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise, { lockDuration: 300, concurrency: 20 });
  const sweeper = play.worker(queue, other, async () => {}, { stalledInterval: 30 });
  await sweeper.pause();
  const [heard, swept] = [record(worker), record(sweeper)];
  await queue.addBulk(Array.from({ length: 20 }, (_, data) => ({ name: 'work', data })));
  await until(() => heard.active.length === 20);
  const polls = countStatements(other);
  await untilRenewed(play, queue.name, 600);
  await until(() => polls.answered('poll') >= 3);
  release.resolve();
  await until(() => heard.completed.length === 20);
  expect(swept.stalled).toEqual([]);
  expect(heard.active).toHaveLength(20);
});

it('renews all of them in one statement', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const renewed: number[] = [];
  onStatements(store, (name, run, values) => {
    if (name === 'renew') renewed.push(JSON.parse(String(values['leases'])).length);
    return run();
  });
  const release = deferred();
  play.worker(queue, store, () => release.promise, { lockDuration: 150, concurrency: 50 });
  await queue.addBulk(Array.from({ length: 50 }, (_, data) => ({ name: 'work', data })));
  await until(() => renewed.filter((count) => count === 50).length >= 3);
  release.resolve();
});

it('one failed renewal, or two, cost nothing', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let failures = 0;
  let successes = 0;
  onStatements(store, async (name, run) => {
    if (name !== 'renew') return run();
    if (failures < 2) {
      failures++;
      throw new Error('the renewal failed');
    }
    successes++;
    return run();
  });
  const release = deferred<string>();
  const worker = play.worker(queue, store, () => release.promise, { lockDuration: 1_500 });
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => successes >= 3);
  release.resolve('done');
  expect(await job.waitUntilFinished()).toBe('done');
  expect(heard.errors).toEqual([]);
  expect(play.said.filter(({ message }) => /could not renew 1 lease/.test(message))).toHaveLength(2);
});

it('a renewal that never answers does not keep the next ones from being made', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let asked = 0;
  onStatements(store, async (name, run) => {
    if (name === 'renew' && ++asked === 1) await new Promise(() => {});
    return run();
  });
  const release = deferred<string>();
  const worker = play.worker(queue, store, () => release.promise, { lockDuration: 1_200 });
  const heard = record(worker);
  const job = await queue.add('work', null);
  await until(() => asked >= 4);
  release.resolve('done');
  expect(await job.waitUntilFinished()).toBe('done');
  expect(heard.errors).toEqual([]);
});

it.each(['before any renewal', 'while one is under way'])(
  'a handler that blocks the process longer than its lease keeps its job, if nobody took it: %s',
  async (when) => {
    const store = await play.open();
    const queue = play.queue(store);
    const renewing = deferred();
    const statements = countStatements(store);
    onStatements(store, (name, run) => {
      const answer = run();
      // It has been sent by then, and its answer is not there yet.
      if (name === 'renew') setImmediate(() => setImmediate(renewing.resolve));
      return answer;
    });
    const worker = play.worker(
      queue,
      store,
      async () => {
        if (when === 'while one is under way') await renewing.promise;
        const end = performance.now() + 500;
        while (performance.now() < end);
        // The timers that were due meanwhile fire, and a renewal is made and answered.
        const renewals = statements.count('renew');
        await until(() => statements.answered('renew') > renewals);
        return 'done';
      },
      { lockDuration: 200 },
    );
    const heard = record(worker);
    // Otherwise a poll of its own process might find the lease expired.
    await untilAsleep(statements);
    const job = await queue.add('work', null);
    expect(await job.waitUntilFinished()).toBe('done');
    expect(heard.errors).toEqual([]);
  },
);

it.each<[string, () => Promise<never>]>([
  ['fails', () => Promise.reject(new Error('no way through'))],
  ['hangs', () => new Promise(() => {})],
])('while every renewal %s, the lease is given up when it has run out', async (_name, fail) => {
  const store = await play.open();
  const queue = play.queue(store);
  onStatements(store, (name, run) => (name === 'renew' ? fail() : run()));
  const reasons: unknown[] = [];
  const worker = play.worker(
    queue,
    store,
    async (_job, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      reasons.push(signal.reason);
    },
    { lockDuration: 300, stalledInterval: 600_000 },
  );
  const heard = record(worker);
  await queue.add('work', null);
  await until(() => reasons.length === 1);
  expect(reasons).toEqual([expect.any(LeaseLostError)]);
  expect(heard.errors).toEqual([expect.any(LeaseLostError)]);
});

import { expect, it } from 'vitest';
import { Queue } from '../../src/index.js';
import { record, usePlayground } from '../support/playground.js';
import { countStatements, onStatements, untilAsleep } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

/** Eight workers of three queues in one store, all asleep. */
async function crowd() {
  const store = await play.open();
  const queues = [play.queue(store), play.queue(store), play.queue(store)];
  const statements = countStatements(store);
  const workers = Array.from({ length: 8 }, (_, i) =>
    play.worker(queues[i % 3] as (typeof queues)[0], store, () => 'ran', { stalledInterval: 600_000 }),
  );
  await untilAsleep(statements);
  return { store, queues, queue: queues[0] as (typeof queues)[0], workers, statements };
}

it('workers of one store share one connection that listens, to all of their queues', async () => {
  const { queues } = await crowd();
  const listening = await play.database.sql`select query from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen %'`;
  expect(listening).toHaveLength(1);
  // It listens for each of them: adding to any queue in another process wakes its workers.
  const other = await play.open();
  for (const { name } of queues) {
    expect(await (await new Queue(name, { store: other }).add('work', null)).waitUntilFinished()).toBe('ran');
  }
});

it('they look once for all of them', async () => {
  const { store, statements } = await crowd();
  store.engine.poller.poll();
  await until(() => statements.count('poll') === 1);
  await store.engine.poller.close();
  expect(statements.count('poll')).toBe(1);
});

it('one delayed job is promoted once, though many workers wait for it', async () => {
  const { queue, statements } = await crowd();
  const job = await queue.add('work', null, { delay: 100 });
  expect(await job.waitUntilFinished()).toBe('ran');
  expect(statements.count('promote due with ids')).toBe(1);
  expect(statements.count('poll')).toBeLessThanOrEqual(3);
});

it('one tick is advanced once', async () => {
  const { queue, statements } = await crowd();
  await queue.every(100, 'tick', null, { repeat: { limit: 1 } });
  await until(async () => (await queue.count('completed')) === 2);
  await until(async () => (await queue.getSchedules())[0]?.tickAt === null);
  expect(statements.count('advance schedule')).toBe(2);
});

it('one stalled job is swept once, and one of them says so', async () => {
  const { store, queue, workers, statements } = await crowd();
  const heard = workers.map(record);
  const job = await queue.add('work', null, { delay: 3_600_000 });
  await play.database.sql`update conveyor_jobs set state = 'active', lock_until = now() where id = ${job.id}`;
  store.engine.poller.poll();
  expect(await job.waitUntilFinished()).toBe('ran');
  expect(statements.count('sweep')).toBe(1);
  expect(heard.flatMap(({ stalled }) => stalled)).toEqual([job.id]);
});

it('what is under way is not begun again, however often they look', async () => {
  const { store, queue, statements } = await crowd();
  const release = deferred();
  onStatements(store, async (name, run) => {
    if (['sweep', 'promote due with ids', 'due schedules'].includes(name)) await release.promise;
    return run();
  });
  const [stalled, delayed] = [
    await queue.add('work', null, { delay: 3_600_000 }),
    await queue.add('work', null, { delay: 3_600_000 }),
  ];
  await queue.every('1 hour', 'tick', null);
  await play.database.sql`update conveyor_schedules set tick_at = now() where queue_name = ${queue.name}`;
  await play.database.sql`update conveyor_jobs set delay_until = now() where id = ${delayed.id}`;
  await play.database.sql`update conveyor_jobs set state = 'active', lock_until = now() where id = ${stalled.id}`;
  statements.reset();
  for (let look = 1; look <= 5; look++) {
    store.engine.poller.poll();
    await until(() => statements.count('poll') >= look);
  }
  release.resolve();
  await until(async () => (await queue.count('completed')) === 3);
  for (const name of ['sweep', 'promote due with ids', 'due schedules']) expect(statements.count(name), name).toBe(1);
});

it('when one of them closes, the others are looked after as before', async () => {
  const { queue, workers, statements } = await crowd();
  const [first] = workers;
  await first?.close();
  expect(await (await queue.add('work', null, { delay: 50 })).waitUntilFinished()).toBe('ran');
  expect(statements.count('promote due with ids')).toBe(1);
});

import { expect, it } from 'vitest';
import { sweepQueue } from '../../src/core/worker/maintenance.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { rowOf, usePlayground } from '../support/playground.js';

const play = usePlayground();

/** Active, and its lease has run out. */
async function expired() {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null);
  await play.database.sql`update conveyor_jobs set state = 'active', locked_by = 'slow', lease = 1,
    lock_until = now() - interval '1 second' where id = ${job.id}`;
  const swept: string[] = [];
  return {
    store,
    queue,
    job,
    swept,
    sweep: () => sweepQueue(store.engine, queue.name, 1, { stalled: (id) => void swept.push(id) }),
  };
}

it('a job that is just being completed is not swept', async () => {
  const { job, swept, sweep } = await expired();
  const finisher = await openTransaction(play.database.sql);
  await finisher.sql`update conveyor_jobs set state = 'completed', completed_at = now(), lock_until = null, locked_by = null
    where id = ${job.id} and lease = 1`;
  expect(await sweep()).toBe(0);
  await finisher.commit();
  expect(await sweep()).toBe(0);
  expect(swept).toEqual([]);
  expect(await rowOf(play, job)).toMatchObject({ state: 'completed', stalled_count: 0 });
});

it('a job whose lease is just being renewed is not swept', async () => {
  const { job, sweep } = await expired();
  const renewer = await openTransaction(play.database.sql);
  await renewer.sql`update conveyor_jobs set lock_until = now() + interval '1 minute' where id = ${job.id} and lease = 1`;
  expect(await sweep()).toBe(0);
  await renewer.commit();
  expect(await sweep()).toBe(0);
  expect(await rowOf(play, job)).toMatchObject({ state: 'active', stalled_count: 0 });
});

it('a job that another sweeper holds is left to it', async () => {
  const { job, sweep } = await expired();
  const other = await openTransaction(play.database.sql);
  await other.sql`update conveyor_jobs set state = 'waiting', lease = lease + 1, stalled_count = 1, lock_until = null
    where id = ${job.id}`;
  expect(await sweep()).toBe(0);
  await other.commit();
  expect(await sweep()).toBe(0);
  expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', stalled_count: 1 });
});

it.each(['completed', 'failed', 'retry', 'delayed', 'released'] as const)(
  'a worker that comes back after its job was swept finds nothing to settle: %s',
  async (kind) => {
    const { store, queue, job, sweep } = await expired();
    expect(await sweep()).toBe(1);
    const before = await rowOf(play, job);
    const settlement = { queueName: queue.name, id: job.id, lease: 1, workerId: 'slow', hasParent: false };
    const more = { returnvalue: '1', reason: 'late', delayMs: 0, until: Date.now() };
    expect(await store.engine.settlements.push({ ...settlement, kind, ...more })).toBeUndefined();
    expect(await rowOf(play, job)).toEqual(before);
  },
);

it('a job that is swept after it was cancelled ends at once', async () => {
  const { job, sweep } = await expired();
  await job.cancel();
  expect(await sweep()).toBe(1);
  expect(await rowOf(play, job)).toMatchObject({ state: 'failed', failed_reason: 'Job cancelled' });
});

it('the worker that completes a job while it is swept loses, and one of the two wins', async () => {
  const { store, queue, job } = await expired();
  const sweeping = await openTransaction(play.database.sql);
  await sweeping.sql`update conveyor_jobs set state = 'waiting', lease = lease + 1, stalled_count = 1, lock_until = null,
    locked_by = null where id = ${job.id}`;
  const settlement = {
    ...{
      queueName: queue.name,
      id: job.id,
      lease: 1,
      workerId: 'slow',
      kind: 'completed' as const,
      returnvalue: '"late"',
    },
    hasParent: false,
  };
  const settled = store.engine.settlements.push(settlement);
  await untilWaiting(play.database.sql);
  await sweeping.commit();
  expect(await settled).toBeUndefined();
  expect(await rowOf(play, job)).toMatchObject({ state: 'waiting', returnvalue: null });
});

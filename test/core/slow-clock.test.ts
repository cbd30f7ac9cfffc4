import { afterEach, expect, it, vi } from 'vitest';
import { FlowProducer } from '../../src/index.js';
import { rowOf, usePlayground } from '../support/playground.js';

/** A producer whose clock is ten minutes slow: jobs are as old as the database says. */

const play = usePlayground();
afterEach(() => {
  vi.useRealTimers();
});

const slow = () => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 600_000 });

it('clean removes no job that was added a moment ago', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  slow();
  const jobs = [
    await queue.add('one', null),
    ...(await queue.addBulk([{ name: 'of many', data: null }])),
    await queue.add('own id', null, { jobId: 'mine' }),
    await queue.add('keyed', null, { deduplication: { key: 'k' } }),
    await queue.add('grouped', null, { group: { id: 'g', maxSize: 5 } }),
    await queue.every('1 hour', 'repeating', null),
  ];
  const flow = await new FlowProducer({ store }).add({ name: 'flow', queueName: queue.name, data: null });
  vi.useRealTimers();
  expect(await queue.clean('waiting', 300_000)).toBe(0);
  expect(await queue.count('waiting')).toBe(7);
  for (const job of jobs) {
    expect((await rowOf(play, job))?.['created_at']).toEqual(job.createdAt);
  }
  expect(Math.abs(((await queue.getJob(flow.job.id))?.createdAt.getTime() ?? 0) - Date.now())).toBeLessThan(300_000);
});

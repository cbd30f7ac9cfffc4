import { describe, expect, it } from 'vitest';
import { usePlayground } from '../support/playground.js';
import { countStatements, onStatements } from '../support/statements.js';

const play = usePlayground();

const many = (count: number, opts?: object) =>
  Array.from({ length: count }, (_, n) => ({ name: 'work', data: { n }, ...(opts && { opts }) }));

it('saves jobs in their order, and returns them in it', async () => {
  const store = await play.open();
  const queue = play.queue<{ n: number }>(store);
  const jobs = await queue.addBulk(many(50));
  expect(jobs.map(({ data }) => data.n)).toEqual(many(50).map(({ data }) => data.n));
  const waiting = await queue.getJobs('waiting', 0, 50);
  expect(waiting.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id));
});

describe('statements', () => {
  it('1,000 jobs are one insert', async () => {
    const store = await play.open();
    const statements = countStatements(store);
    await play.queue(store).addBulk(many(1_000));
    await store.engine.notifier.flush();
    expect(statements.count(/^insert/)).toBe(1);
    // The store's check of its notifications is none of theirs.
    expect(statements.names.filter((name) => name !== 'notify itself').length).toBeLessThanOrEqual(3);
  });

  it('1,000 jobs that are there already are an insert and a read', async () => {
    const store = await play.open();
    const queue = play.queue<{ n: number }>(store);
    const jobs = many(1_000).map((job, n) => ({ ...job, opts: { jobId: `id-${n}` } }));
    await queue.addBulk(jobs);
    const statements = countStatements(store);
    const again = await queue.addBulk(jobs.map((job) => ({ ...job, data: { n: -1 } })));
    expect(again.map(({ data }) => data.n)).toEqual(jobs.map(({ data }) => data.n));
    expect(statements.names.length).toBeLessThanOrEqual(3);
    expect(await queue.count('waiting')).toBe(1_000);
  });

  it('1,000 concurrent calls of add are a few', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const statements = countStatements(store);
    await Promise.all(many(1_000).map(({ name, data }) => queue.add(name, data)));
    expect(statements.count(/^insert/)).toBeLessThanOrEqual(20);
    expect(await queue.count('waiting')).toBe(1_000);
  });

  it('large jobs are cut into chunks by their size', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const statements = countStatements(store);
    const data = 'x'.repeat(3 * 1024 * 1024);
    await queue.addBulk(Array.from({ length: 5 }, () => ({ name: 'big', data })));
    expect(statements.count(/^insert/)).toBe(3);
  });
});

it('takes duplicates within one call as one job', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk([
    ...many(3, { deduplication: { key: 'same' } }),
    ...many(2, { jobId: 'mine' }),
    ...many(1),
  ]);
  expect(new Set(jobs.map(({ id }) => id)).size).toBe(3);
  expect(await queue.count('waiting')).toBe(3);
  expect(jobs.slice(0, 3).map(({ data }) => data)).toEqual([{ n: 0 }, { n: 0 }, { n: 0 }]);
});

it('mixes plain, delayed, grouped and repeating jobs', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk([
    { name: 'plain', data: 1 },
    { name: 'later', data: 2, opts: { delay: 60_000 } },
    { name: 'grouped', data: 3, opts: { group: { id: 'g', maxSize: 5 } } },
    { name: 'ticking', data: 4, opts: { repeat: { every: 60_000 } } },
    { name: 'plain', data: 5 },
  ]);
  expect(jobs.map(({ data, state }) => [data, state])).toEqual([
    [1, 'waiting'],
    [2, 'delayed'],
    [3, 'waiting'],
    [4, 'waiting'],
    [5, 'waiting'],
  ]);
});

it('nothing is saved when one of the jobs is bad', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const statements = countStatements(store);
  await expect(queue.addBulk([...many(3), { name: '', data: null }])).rejects.toThrow(/job name/);
  await expect(queue.addBulk([...many(3), { name: 'x', data: 1n }])).rejects.toThrow(/data/);
  await expect(
    queue.addBulk([
      { name: 'x', data: null, opts: { group: { id: 'g', maxSize: 1 } } },
      { name: 'y', data: 1n, opts: { group: { id: 'g', maxSize: 1 } } },
    ]),
  ).rejects.toThrow(/data/);
  expect(statements.names).toEqual([]);
});

it('a job that the server refuses does not take concurrent ones with it', async () => {
  const store = await play.open();
  const queue = play.queue<string>(store);
  onStatements(store, async (_name, run, values) => {
    if (JSON.stringify(values).includes('poison')) throw new Error('refused by the server');
    return run();
  });
  const added = await Promise.allSettled(['a', 'poison', 'b', 'c'].map((data) => queue.add('work', data)));
  expect(added.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  expect(await queue.count('waiting')).toBe(3);
});

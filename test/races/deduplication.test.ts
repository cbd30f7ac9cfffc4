import { describe, expect, it } from 'vitest';
import { createJobData, Queue } from '../../src/index.js';
import { encodeRecord, insertBatch } from '../../src/store/add/insert.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { newName, usePlayground } from '../support/playground.js';
import { insertRow } from '../support/rows.js';

const play = usePlayground();

it.each<[string, object]>([
  ['a key', { deduplication: { key: 'once' } }],
  ['a hash', { deduplication: { hash: true } }],
  ['a jobId', { jobId: 'the one' }],
])('concurrent adds from four stores with the same %s make one job', async (_name, opts) => {
  const name = newName();
  const queues = await Promise.all(
    Array.from({ length: 4 }, async () => new Queue(name, { store: await play.open() })),
  );
  const jobs = await Promise.all(
    Array.from({ length: 80 }, (_, i) => (queues[i % 4] as Queue).add('work', { same: 'data' }, opts)),
  );
  expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
  expect(await queues[0]?.count('waiting')).toBe(1);
});

describe('an add that meets the uncommitted job of another with its key', () => {
  async function meeting() {
    const store = await play.open();
    const queue = play.queue(store);
    const other = await openTransaction(play.database.sql);
    await insertRow(other.sql, { queue_name: queue.name, id: 'theirs', deduplication_key: 'key' });
    const added = queue.add('work', 2, { deduplication: { key: 'key' } });
    await untilWaiting(play.database.sql);
    return { queue, other, added };
  }

  it('waits for it, and returns that one once it is committed', async () => {
    const { queue, other, added } = await meeting();
    await other.commit();
    expect(await added).toMatchObject({ id: 'theirs', data: 1 });
    expect(await queue.count('waiting')).toBe(1);
  });

  it('makes its own when the other is rolled back', async () => {
    const { queue, other, added } = await meeting();
    await other.rollback();
    expect((await added).data).toBe(2);
    expect(await queue.count('waiting')).toBe(1);
  });
});

it('while an add waits for somebody else, the plain adds of its process do not', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const other = await openTransaction(play.database.sql);
  await insertRow(other.sql, { queue_name: queue.name, id: 'theirs', deduplication_key: 'key' });
  const waiting = queue.add('work', 2, { deduplication: { key: 'key' } });
  await untilWaiting(play.database.sql);
  for (let i = 0; i < 20; i++) await queue.add('work', i);
  await other.commit();
  expect((await waiting).id).toBe('theirs');
});

it('two batches with the same keys in opposite orders do not stop each other', async () => {
  const name = newName();
  const [a, b] = [new Queue(name, { store: await play.open() }), new Queue(name, { store: await play.open() })];
  const jobs = Array.from({ length: 200 }, (_, n) => ({
    name: 'work',
    data: n,
    opts: { deduplication: { key: `key ${n}` } },
  }));
  for (let round = 0; round < 3; round++) {
    await Promise.all([
      a.addBulk(jobs),
      b.addBulk([...jobs].reverse()),
      a.addBulk([...jobs].reverse()),
      b.addBulk(jobs),
    ]);
  }
  expect(await a.count('waiting')).toBe(200);
});

it('of two with one id and different keys in a batch, the second is told that it was not created', async () => {
  const store = await play.open();
  const name = newName();
  const record = (key: string) =>
    encodeRecord(name, 'the one', createJobData(name, 'work', key, { deduplication: { key } }), {
      maxPayloadBytes: 1e6,
    });
  const saved = await insertBatch(store.engine.executor, [record('a'), record('b')]);
  expect(saved.map(({ id, created }) => [id, created])).toEqual([
    ['the one', true],
    ['the one', false],
  ]);
});

import { afterEach, describe, expect, it } from 'vitest';
import { FlowProducer, type InvariantName, Worker } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { insertRow, newQueue } from '../support/rows.js';
import { until } from '../support/until.js';

const play = usePlayground();
const HOUR = 3_600_000;
const soon = () => new Date(Date.now() + HOUR).toISOString();
type Row = Record<string, string | number | null>;

afterEach(
  () => play.database.sql`truncate conveyor_jobs, conveyor_schedules, conveyor_rate_limits,
  conveyor_group_cursors, conveyor_metrics`,
);

/** A row of each kind for which an invariant does not hold; `id` is the job's. */
const WRONG_JOBS: [InvariantName, string, Row][] = [
  ['active-without-lease', 'no worker', { state: 'active', lock_until: soon() }],
  ['active-without-lease', 'no end', { state: 'active', locked_by: 'worker-1' }],
  ['lease-without-active', 'a worker', { state: 'waiting', locked_by: 'worker-1' }],
  ['lease-without-active', 'an end', { state: 'completed', completed_at: soon(), lock_until: soon() }],
  ['start-beyond-lease', 'a start', { started_lease: 3, lease: 2 }],
  ['delayed-without-time', 'never due', { state: 'delayed' }],
  ['ended-without-time', 'completed', { state: 'completed' }],
  ['ended-without-time', 'failed', { state: 'failed' }],
  ['live-with-removal-time', 'removed alive', { remove_at: soon() }],
  ['cancelled-but-waiting', 'would run', { cancelled_at: soon() }],
  ['order-beyond-sequence', 'after a restore', { seq: 4_000_000_000 }],
  ['parent-waits-for-none', 'for ever', { state: 'waiting-children' }],
  ['half-a-parent', 'no queue', { parent_id: 'p' }],
];

describe('verify', () => {
  it.each(WRONG_JOBS)('finds a job with %s: %s', async (invariant, id, row) => {
    const store = await play.open();
    const queueName = newQueue();
    await insertRow(play.database.sql, { ...row, queue_name: queueName, id });
    await insertRow(play.database.sql, { queue_name: queueName, id: 'as it should be' });
    expect(await store.verify()).toEqual([{ invariant, queueName, id, detail: expect.any(String) }]);
  });

  it('finds a parent that counts its children wrongly, and says how', async () => {
    const { sql } = play.database;
    const store = await play.open();
    const queueName = newQueue();
    const child = { queue_name: queueName, parent_id: 'p', parent_queue_name: queueName };
    await insertRow(sql, { ...child, id: 'a' });
    await insertRow(sql, { ...child, id: 'b', state: 'completed', completed_at: soon() });
    const parent = { queue_name: queueName, id: 'p', state: 'waiting-children' };
    await insertRow(sql, { ...parent, pending_children_count: 2 });
    expect(await store.verify()).toEqual([
      { invariant: 'children-miscounted', queueName, id: 'p', detail: 'pending_children_count 2, unended children 1' },
    ]);
    await sql`update conveyor_jobs set pending_children_count = 1 where id = 'p'`;
    expect(await store.verify()).toEqual([]);
    // Its children are removed, and it would wait for what is not there.
    await sql`update conveyor_jobs set children_ids = '["a", "b"]' where id = 'p'`;
    await sql`delete from conveyor_jobs where id in ('a', 'b')`;
    expect(await store.verify()).toMatchObject([{ invariant: 'children-miscounted', id: 'p' }]);
  });

  it('leaves a parent alone that counts without rows of children', async () => {
    const store = await play.open();
    const row = { state: 'waiting-children', pending_children_count: 3 };
    await insertRow(play.database.sql, { ...row, queue_name: newQueue(), id: 'p' });
    expect(await store.verify()).toEqual([]);
  });

  it('finds schedules that made a tick twice, or go on past their end', async () => {
    const { sql } = play.database;
    const store = await play.open();
    const queue = play.queue(store);
    await queue.every('1 hour', 'job', 1, { repeat: { key: 'k', startDate: new Date(Date.now() + HOUR) } });
    expect(await store.verify()).toEqual([]);
    await sql`insert into conveyor_jobs (queue_name, id, name, data, state, delay_until, schedule_key)
      select queue_name, 'another', name, data, state, delay_until, schedule_key from conveyor_jobs`;
    expect(await store.verify()).toMatchObject([
      { invariant: 'tick-with-several-jobs', queueName: queue.name, id: 'k' },
    ]);
    await sql`delete from conveyor_jobs where id = 'another'`;
    await sql`update conveyor_schedules set end_at = tick_at - interval '1 s'`;
    expect(await store.verify()).toMatchObject([{ invariant: 'tick-past-end', queueName: queue.name, id: 'k' }]);
    await sql`update conveyor_schedules set end_at = null, runs_left = -1`;
    expect(await store.verify()).toMatchObject([{ invariant: 'tick-past-end', id: 'k' }]);
  });

  it('finds damaged logs of limits, and impossible metrics', async () => {
    const { sql } = play.database;
    const store = await play.open();
    await sql`insert into conveyor_rate_limits (queue_name, fetches) values ('q', '{}')`;
    await sql`insert into conveyor_group_cursors (queue_name, group_id, fetches) values ('q', 'g', '1')`;
    const bucket = (n: number) => ({ queue_name: 'q', job_name: `${n}`, granularity: 'hour', period_start: soon() });
    await sql`insert into conveyor_metrics ${sql({ ...bucket(1), min_process_ms: 2, max_process_ms: 1 })}`;
    await sql`insert into conveyor_metrics ${sql({ ...bucket(2), id: 4_000_000_000 })}`;
    expect((await store.verify()).map(({ invariant, id }) => `${invariant} ${id}`)).toEqual([
      'rate-limit-log-damaged ',
      'group-log-damaged g',
      'metrics-beyond-sequence 4000000000',
      expect.stringMatching(/^metrics-impossible \d+$/),
    ]);
  });

  it('finds nothing among jobs of all kinds that were left to the store', async () => {
    const store = await play.open({ metrics: { enabled: true } });
    const queue = play.queue(store);
    await queue.every('1 hour', 'job', 1);
    await queue.add('job', 1, { delay: HOUR });
    await queue.add('job', 1, { group: { id: 'g', maxSize: 3 } });
    await (await queue.add('job', 1, { delay: HOUR })).cancel();
    const children = [1, 2].map((data) => ({ name: 'job', queueName: queue.name, data }));
    await new FlowProducer({ store }).add({ name: 'job', queueName: queue.name, data: 0, children });
    await queue.addBulk(
      [1, 2, 3].map((data) => ({ name: 'fails', data, opts: { attempts: 2, removeOnFail: 60_000 } })),
    );
    const run = async ({ name }: { name: string }) => {
      if (name === 'fails') throw new Error('on purpose');
    };
    const limits = { limiter: { max: 100, duration: 1_000 }, group: { concurrency: 2 } };
    const worker = new Worker(queue.name, run, { store, concurrency: 4, ...limits });
    await until(async () => {
      const { waiting, active, 'waiting-children': parents } = await queue.getJobCounts();
      return waiting + active + parents === 0;
    });
    await worker.close();
    expect(await store.verify()).toEqual([]);
  });

  it('lists as many as wanted of each kind', async () => {
    const store = await play.open();
    for (const id of ['a', 'b', 'c']) await insertRow(play.database.sql, { queue_name: 'q', id, state: 'delayed' });
    expect((await store.verify({ limit: 2 })).map(({ id }) => id)).toEqual(['a', 'b']);
    await expect(store.verify({ limit: 0 })).rejects.toThrow('limit is 0; it must be a whole number from 1 to');
    await expect(store.verify({ most: 1 } as never)).rejects.toThrow('options has no option "most"');
  });
});

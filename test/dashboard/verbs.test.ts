import { describe, expect, test } from 'vitest';
import { Queue } from '../../src/core/queue/queue.js';
import { insertRows, newQueue } from '../support/rows.js';
import { useDashboard } from './support.js';

const dashboard = useDashboard();

const stateOf = async (queue: string, id: string) => (await dashboard.store.getJob(queue, id))?.state;
const counts = (queue: string) => dashboard.store.getJobCounts(queue);

async function rows(state: string, count: number, more: Record<string, string> = {}): Promise<string> {
  const queue = newQueue();
  await insertRows(dashboard.database.sql, queue, count, { state: `'${state}'`, ...more });
  return queue;
}

const failed = {
  failed_at: 'now()',
  failed_reason: `'on purpose'`,
  name: `case when i % 2 = 0 then 'even' else 'odd' end`,
};

describe('of chosen jobs', () => {
  test.each([
    ['retry', 'failed', 'waiting', failed],
    ['promote', 'delayed', 'waiting', { delay_until: `now() + interval '1 h'` }],
    ['cancel', 'waiting', 'failed', {}],
    ['remove', 'completed', undefined, { completed_at: 'now()' }],
  ] as const)('%s', async (verb, from, to, more) => {
    const queue = await rows(from, 3, more);
    const response = await dashboard.make().post('/api/jobs', { verb, queue, ids: ['row-1', 'row-2', 'gone'] });
    expect(response.status).toBe(200);
    const passed = verb === 'remove' ? 0 : 1;
    expect(await response.json()).toMatchObject({ done: 3 - passed, passed });
    expect(await stateOf(queue, 'row-1')).toBe(to);
    expect(await stateOf(queue, 'row-3')).toBe(from);
  });

  test('a job in another state is passed over', async () => {
    const queue = await rows('waiting', 1);
    const response = await dashboard.make().post('/api/jobs', { verb: 'retry', queue, ids: ['row-1'] });
    expect(await response.json()).toMatchObject({ done: 0, passed: 1 });
  });
});

describe('of all that match', () => {
  test('a filter', async () => {
    const queue = await rows('failed', 501, failed);
    const filter = { queue, state: 'failed', name: 'even' };
    const response = await dashboard.make().post('/api/jobs', { verb: 'retry', filter });
    expect(await response.json()).toMatchObject({ done: 250, passed: 0, more: false });
    expect(await counts(queue)).toMatchObject({ failed: 251, waiting: 250 });
  });

  test.each([
    ['retry', 'failed', { waiting: 30 }, failed],
    ['promote', 'delayed', { waiting: 30 }, { delay_until: `now() + interval '1 h'` }],
    ['cancel', 'waiting', { failed: 30 }, {}],
    ['remove', 'completed', { completed: 0 }, { completed_at: `now() - interval '1 s'` }],
  ] as const)('%s a whole state', async (verb, state, after, more) => {
    const queue = await rows(state, 30, more);
    const response = await dashboard.make().post('/api/jobs', { verb, filter: { queue, state } });
    expect(await response.json()).toMatchObject({ done: 30 });
    expect(await counts(queue)).toMatchObject(after);
  });

  test('nothing is done for a filter of which a part means nothing', async () => {
    const queue = await rows('failed', 2, failed);
    const filter = { queue, state: 'failed', since: 'yesterday' };
    const response = await dashboard.make().post('/api/jobs', { verb: 'remove', filter });
    expect(response.status).toBe(400);
    expect(await counts(queue)).toMatchObject({ failed: 2 });
  });
});

test('a queue is paused and resumed', async () => {
  const queue = await rows('waiting', 1);
  const events: string[] = [];
  dashboard.store.subscribe(queue, ({ type }) => events.push(type));
  const site = dashboard.make();
  await site.post('/api/queue', { verb: 'pause', queue });
  expect(await dashboard.store.getPausedJobNames(queue)).toEqual(['__all__']);
  await site.post('/api/queue', { verb: 'resume', queue });
  expect(await dashboard.store.getPausedJobNames(queue)).toEqual([]);
  expect(events).toEqual(['queue:paused', 'queue:resumed']);
  await new Queue(queue, { store: dashboard.store }).close();
});

test.each([
  ['no verb', { queue: 'q', ids: ['1'] }],
  ['an unknown verb', { verb: 'obliterate', queue: 'q', ids: ['1'] }],
  ['no ids', { verb: 'retry', queue: 'q' }],
  ['an id that is none', { verb: 'retry', queue: 'q', ids: [{}] }],
  ['too many ids', { verb: 'retry', queue: 'q', ids: Array.from({ length: 1_001 }, String) }],
  ['no queue', { verb: 'retry', ids: ['1'] }],
  ['a list', []],
])('%s is refused', async (_, body) => {
  const response = await dashboard.make().post('/api/jobs', body);
  expect(response.status).toBe(400);
  expect(await response.json()).toHaveProperty('error');
});

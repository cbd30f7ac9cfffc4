import { expect, it } from 'vitest';
import { Queue, type StoreEvent } from '../../src/index.js';
import { newName, usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { until } from '../support/until.js';

const play = usePlayground();

const asJson = (event: StoreEvent) => JSON.parse(JSON.stringify(event)) as Record<string, unknown>;
/** Without what no test can know. */
const known = ({ timestamp: _, queueName: __, ...event }: Record<string, unknown>) => event;

it('events carry the same in the process that publishes them and in others', async () => {
  const queueName = newName();
  const script = spawnScript(new URL('./listening.script.ts', import.meta.url), {
    args: [play.database.url, queueName],
  });
  await script.waitFor((line) => line === 'ready');
  const store = await play.open();
  const queue = new Queue(queueName, { store });
  const here: Record<string, unknown>[] = [];
  store.subscribe(queueName, (event) => here.push(asJson(event)));
  const worker = play.worker(queue, store, async (job, signal) => {
    if (job.name === 'completes') await job.updateProgress(12.5);
    if (job.name === 'fails') throw new Error(`no ${job.attemptsMade}`);
    if (job.name === 'cancelled') await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return job.data;
  });
  const add = async (name: string, data: unknown, opts = {}) => {
    const job = await queue.add(name, data, { jobId: `${name} ${JSON.stringify(data).length}`, ...opts });
    if (name === 'cancelled') {
      await until(() => job.isActive());
      await job.cancel();
    }
    await job.waitUntilFinished().catch(() => {});
    return job.id;
  };
  // The first could be taken for an event without its result.
  const object = await add('completes', { partial: true });
  const nothing = await add('completes', null);
  const large = await add('completes', 'x'.repeat(50_000));
  const fails = await add('fails', 1, { attempts: 3, backoff: { type: 'fixed', delay: 1 } });
  const cancelled = await add('cancelled', 1);
  await queue.pause({ jobName: 'a' });
  await worker.close();
  await store.engine.notifier.flush();
  await script.waitFor<StoreEvent>((line) => line.type === 'queue:paused');
  await script.kill();

  const there = script.lines.slice(1) as Record<string, unknown>[];
  const names = new Set([...here, ...there].map(({ jobId }) => jobId));
  for (const id of names) {
    const of = (events: Record<string, unknown>[]) => events.filter(({ jobId }) => jobId === id);
    expect(of(there)).toEqual(of(here));
  }
  const told = (id: string) =>
    here.filter(({ jobId, type }) => jobId === id && !/waiting$|active$/.test(String(type))).map(known);
  const progress = (jobId: string) => ({ type: 'job:progress', jobId, data: 12.5 });
  expect(told(object)).toEqual([progress(object), { type: 'job:completed', jobId: object, data: { partial: true } }]);
  expect(told(nothing)).toEqual([progress(nothing), { type: 'job:completed', jobId: nothing, data: null }]);
  expect(told(large)).toEqual([progress(large), { type: 'job:completed', jobId: large, partial: true }]);
  expect(told(fails)).toEqual([
    { type: 'job:delayed', jobId: fails, attemptsMade: 1, failedReason: 'no 0' },
    { type: 'job:delayed', jobId: fails, attemptsMade: 2, failedReason: 'no 1' },
    { type: 'job:failed', jobId: fails, data: 'no 2' },
  ]);
  expect(told(cancelled)).toEqual([
    { type: 'job:cancelled', jobId: cancelled },
    { type: 'job:failed', jobId: cancelled, data: 'Job cancelled', cancelled: true },
  ]);
  expect(known(here.at(-1) as Record<string, unknown>)).toEqual({ type: 'queue:paused', data: { jobName: 'a' } });
});

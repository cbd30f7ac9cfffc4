import { expect, it } from 'vitest';
import { sweepQueue } from '../../src/core/worker/maintenance.js';
import { FlowProducer } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { countStatements, untilAsleep } from '../support/statements.js';
import { until } from '../support/until.js';

const play = usePlayground();

/** Well before the poll of the heartbeat, which comes after 10 s and would find everything. */
const SOON = { timeout: 5_000 };

/** A worker of another store that has polled, found nothing and is idle. */
async function idleWorker(options = {}, end = (_job: { attemptsMade: number }): void => {}) {
  const [producer, consumer] = [await play.open(), await play.open()];
  const queue = play.queue(producer);
  const statements = countStatements(consumer);
  const ran: string[] = [];
  const run = async (job: { id: string; attemptsMade: number }) => {
    ran.push(job.id);
    end(job);
  };
  play.worker(queue, consumer, run, options);
  await untilAsleep(statements);
  return { queue, ran, statements, producer };
}

it('a new job wakes an idle worker of another store, without a poll', async () => {
  const { queue, ran, statements } = await idleWorker();
  for (let i = 0; i < 10; i++) {
    const { id } = await queue.add('work', i);
    await until(() => ran.includes(id), SOON);
  }
  expect(statements.count('poll')).toBe(0);
});

it.each(['addBulk', 'promote', 'retry', 'resume', 'promoteJobs', 'retryJobs'])('so does %s', async (how) => {
  const { queue, ran, statements } = await idleWorker();
  const delayed = () => queue.add('work', null, { delay: 60_000 });
  const failed = async () => {
    const job = await delayed();
    await job.moveToFailed('on purpose');
    return job;
  };
  if (how === 'addBulk') await queue.addBulk([{ name: 'work', data: null }]);
  if (how === 'promote') await (await delayed()).promote();
  if (how === 'promoteJobs') await delayed().then(() => queue.promoteJobs());
  if (how === 'retry') await (await failed()).retry();
  if (how === 'retryJobs') await failed().then(() => queue.retryJobs());
  if (how === 'resume') {
    await queue.pause();
    await queue.add('work', null);
    await until(() => statements.count(/^claim/) > 0);
    await queue.resume();
  }
  await until(() => ran.length === 1, SOON);
  expect(statements.count('poll')).toBe(0);
});

it('a job that is tried again at once does', async () => {
  const { queue, ran, statements } = await idleWorker({}, ({ attemptsMade }) => {
    if (attemptsMade < 2) throw new Error('not yet');
  });
  const job = await queue.add('work', null, { attempts: 3 });
  await until(() => ran.length === 3, SOON);
  expect(await job.waitUntilFinished()).toBeNull();
  expect(statements.count('poll')).toBe(0);
});

it('what a closing worker gives back does', async () => {
  const [store, other] = [await play.open(), await play.open()];
  const queue = play.queue(store);
  const busy = play.worker(queue, store, () => new Promise(() => {}));
  const job = await queue.add('work', null);
  await until(() => job.isActive());
  const statements = countStatements(other);
  play.worker(queue, other, () => 'ran');
  await untilAsleep(statements);
  await busy.close(0);
  expect(await job.waitUntilFinished('5s')).toBe('ran');
  expect(statements.count('poll')).toBe(0);
});

it('what a sweeper returns does', async () => {
  const { queue, ran, statements, producer } = await idleWorker();
  const job = await queue.add('work', null, { delay: 3_600_000 });
  await play.database.sql`update conveyor_jobs set state = 'active', lock_until = now() where id = ${job.id}`;
  await sweepQueue(producer.engine, queue.name, 1);
  await until(() => ran.length === 1, SOON);
  expect(statements.count('poll')).toBe(0);
});

it('a parent whose last child ends does', async () => {
  const { queue, ran, statements } = await idleWorker();
  const producer = await play.open();
  const { queueName } = await queue.add('first', null);
  await until(() => ran.length === 1, SOON);
  const children = play.queue(producer);
  play.worker(children, producer, async () => {});
  await new FlowProducer({ store: producer }).add({
    name: 'parent',
    queueName,
    data: null,
    children: [1, 2, 3].map((data) => ({ name: 'child', queueName: children.name, data })),
  });
  await until(() => ran.length === 2, SOON);
  expect(statements.count('poll')).toBe(0);
});

it.each(['cancel', 'remove', 'moveToFailed'] as const)('so does one that ignores its child: %s', async (how) => {
  const { queue, ran, statements, producer } = await idleWorker();
  const { children } = await new FlowProducer({ store: producer }).add({
    name: 'parent',
    queueName: queue.name,
    data: null,
    opts: { failParentOnChildFailure: 'ignore' },
    children: [{ name: 'child', queueName: queue.name, data: null, opts: { delay: 3_600_000 } }],
  });
  const child = await queue.getJob(children?.[0]?.job.id ?? '');
  await (how === 'moveToFailed' ? child?.moveToFailed('ended') : child?.[how]());
  await until(() => ran.length === 1, SOON);
  expect(statements.count('poll')).toBe(0);
});

it('a delayed job runs when it is due: known by a timer, not by polling', async () => {
  const { queue, ran, statements } = await idleWorker();
  await queue.schedule(150, 'work', null);
  await until(() => ran.length === 1, SOON);
  expect(statements.count('poll')).toBeLessThanOrEqual(3);
});

it('a new job wakes an idle worker of another process', async () => {
  const producer = await play.open();
  const queue = play.queue(producer);
  const script = spawnScript(new URL('./idle-worker.script.ts', import.meta.url), {
    args: [play.database.url, queue.name],
  });
  await script.waitFor((line) => line === 'idle');
  for (let i = 0; i < 5; i++) {
    const { id } = await queue.add('work', i);
    await script.waitFor(({ ran }: { ran: string }) => ran === id);
  }
  const last = script.lines.at(-1) as { polls: number };
  expect(last.polls).toBe(0);
  await script.kill();
});

it('without notifications it polls', async () => {
  const [producer, consumer] = [await play.open({ listen: false }), await play.open({ listen: false })];
  const queue = play.queue(producer);
  const ran: unknown[] = [];
  play.worker(queue, consumer, async (job) => void ran.push(job.data));
  await queue.add('work', 'now');
  await queue.schedule(100, 'work', 'later');
  await until(() => ran.length === 2, SOON);
});

import { FlowProducer, type Job, type PgStore, type Queue, Worker } from '../../../src/index.js';
import { jobIn } from '../../support/rows.js';
import { until } from '../../support/until.js';

/** What an operation works on. The queue's jobs were made over another store, past the faults. */
export interface Scene {
  readonly store: PgStore;
  readonly queue: Queue;
  readonly name: string;
  /** A job in a state, by its id. */
  job(id: string): Promise<Job>;
}

export interface Operation {
  readonly name: string;
  /** Jobs that are there before, by id and state. */
  readonly jobs?: readonly [id: string, state: Parameters<typeof jobIn>[0]][];
  /** More that is there before; over the other store. */
  prepare?(queue: Queue, store: PgStore): Promise<unknown>;
  run(scene: Scene): Promise<unknown>;
  /** It takes several statements, and one that was refused may have done a part; called again, it does the rest. */
  readonly inSteps?: true;
  /** Called again after a refusal it does the same thing once. */
  readonly repeatable?: true;
}

const on =
  (id: string, run: (job: Job) => Promise<unknown>) =>
  async ({ job }: Scene) =>
    run(await job(id));
const family = (name: string) => ({
  ...{ name: 'parent', queueName: name, data: 0, opts: { jobId: 'parent' } },
  children: [1, 2].map((data) => ({ name: 'child', queueName: name, data, opts: { jobId: `child ${data}` } })),
});

/** Every public operation that writes, on a scene that it changes. */
export const OPERATIONS: readonly Operation[] = [
  { name: 'add', run: ({ queue }) => queue.add('job', 1) },
  { name: 'add with jobId', run: ({ queue }) => queue.add('job', 1, { jobId: 'own' }), repeatable: true },
  {
    name: 'add with a deduplication key',
    run: ({ queue }) => queue.add('job', 1, { deduplication: { key: 'k' } }),
    repeatable: true,
  },
  { name: 'add delayed', run: ({ queue }) => queue.add('job', 1, { delay: 60_000 }) },
  { name: 'add with group.maxSize', run: ({ queue }) => queue.add('job', 1, { group: { id: 'g', maxSize: 2 } }) },
  { name: 'addBulk', run: ({ queue }) => queue.addBulk([1, 2, 3].map((data) => ({ name: 'job', data }))) },
  {
    name: 'addBulk with jobIds',
    run: ({ queue }) => queue.addBulk([1, 2, 3].map((data) => ({ name: 'job', data, opts: { jobId: `own ${data}` } }))),
    repeatable: true,
  },
  { name: 'every', run: ({ queue }) => queue.every('1h', 'job', 1), repeatable: true },
  { name: 'cron', run: ({ queue }) => queue.cron('0 0 1 1 *', 'job', 1), repeatable: true },
  {
    name: 'removeSchedule',
    prepare: (queue) => queue.every('1h', 'job', 1, { repeat: { key: 'k' } }),
    run: ({ queue }) => queue.removeSchedule('k'),
    repeatable: true,
  },
  { name: 'a flow', run: ({ store, name }) => new FlowProducer({ store }).add(family(name)) },
  { name: 'pause', run: ({ queue }) => queue.pause(), repeatable: true },
  { name: 'pause a name', run: ({ queue }) => queue.pause({ jobName: 'job' }), repeatable: true },
  { name: 'resume', prepare: (queue) => queue.pause(), run: ({ queue }) => queue.resume(), repeatable: true },
  {
    name: 'drain',
    jobs: [
      ['a', 'waiting'],
      ['b', 'waiting'],
    ],
    run: ({ queue }) => queue.drain(),
    repeatable: true,
  },
  {
    name: 'clean',
    jobs: [
      ['a', 'completed'],
      ['b', 'completed'],
    ],
    run: ({ queue }) => queue.clean('completed', 0),
  },
  {
    name: 'obliterate',
    jobs: [
      ['a', 'waiting'],
      ['b', 'failed'],
    ],
    run: ({ queue }) => queue.obliterate(),
    ...{ inSteps: true, repeatable: true },
  },
  {
    name: 'retryJobs',
    jobs: [
      ['a', 'failed'],
      ['b', 'failed'],
    ],
    run: ({ queue }) => queue.retryJobs(),
  },
  {
    name: 'promoteJobs',
    jobs: [
      ['a', 'delayed'],
      ['b', 'delayed'],
    ],
    run: ({ queue }) => queue.promoteJobs(),
  },
  { name: 'updateProgress', jobs: [['a', 'waiting']], run: on('a', (job) => job.updateProgress(50)), repeatable: true },
  { name: 'log', jobs: [['a', 'waiting']], run: on('a', (job) => job.log('line')) },
  { name: 'clearLogs', jobs: [['a', 'waiting']], run: on('a', (job) => job.clearLogs()), repeatable: true },
  { name: 'updateData', jobs: [['a', 'waiting']], run: on('a', (job) => job.updateData(2)), repeatable: true },
  { name: 'discard', jobs: [['a', 'active']], run: on('a', (job) => job.discard()), repeatable: true },
  { name: 'promote', jobs: [['a', 'delayed']], run: on('a', (job) => job.promote()) },
  { name: 'changeDelay', jobs: [['a', 'delayed']], run: on('a', (job) => job.changeDelay('1d')) },
  { name: 'changePriority', jobs: [['a', 'waiting']], run: on('a', (job) => job.changePriority(7)), repeatable: true },
  { name: 'moveToFailed', jobs: [['a', 'waiting']], run: on('a', (job) => job.moveToFailed(new Error('no'))) },
  { name: 'retry', jobs: [['a', 'failed']], run: on('a', (job) => job.retry()) },
  { name: 'remove', jobs: [['a', 'waiting']], run: on('a', (job) => job.remove()) },
  { name: 'cancel', jobs: [['a', 'waiting']], run: on('a', (job) => job.cancel()) },
  { name: 'cancel an active job', jobs: [['a', 'active']], run: on('a', (job) => job.cancel()) },
  {
    name: 'cancel with children',
    prepare: (queue, store) => new FlowProducer({ store }).add(family(queue.name)),
    run: on('parent', (job) => job.cancel({ children: true })),
  },
  { name: 'saveJob', run: ({ store, name }) => store.saveJob(name, jobIn('waiting', { queueName: name })) },
  {
    name: 'updateJob',
    jobs: [['a', 'waiting']],
    run: ({ store, name }) => store.updateJob(name, 'a', { progress: 9, data: 2 }),
    repeatable: true,
  },
  { name: 'removeJob', jobs: [['a', 'failed']], run: ({ store, name }) => store.removeJob(name, 'a') },
  { name: 'fetchNextJob', jobs: [['a', 'waiting']], run: ({ store, name }) => store.fetchNextJob(name, 'w', 60_000) },
  {
    name: 'promoteDelayedJobs',
    jobs: [['a', 'delayed']],
    run: ({ store, name }) => store.promoteDelayedJobs(name, Date.now() + 86_400_000),
  },
  {
    name: 'a job that completes, with its parent',
    prepare: (queue, store) => new FlowProducer({ store }).add(family(queue.name)),
    run: ({ store, name }) => runAll(store, name, async () => 'done'),
  },
  {
    name: 'a job that fails',
    jobs: [['a', 'waiting']],
    run: ({ store, name }) => runAll(store, name, async () => Promise.reject(new Error('no'))),
  },
];

/** Has a worker run all jobs of the queue. */
async function runAll(store: PgStore, name: string, run: () => Promise<unknown>): Promise<void> {
  const worker = new Worker(name, run, { store, lockDuration: 1_500, stalledInterval: 200, maxStalledCount: 100 });
  worker.on('error', () => {});
  try {
    await until(
      async () => {
        const counts = await store.getJobCounts(name).catch(() => undefined);
        return counts && counts.waiting + counts.active + counts.delayed + counts['waiting-children'] === 0;
      },
      { timeout: 20_000, what: 'all jobs to end' },
    );
  } finally {
    await worker.close();
  }
}

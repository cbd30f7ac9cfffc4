import { setTimeout as sleep } from 'node:timers/promises';
import { type JobOptions, Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Bench, Drill } from '../support/drill.js';
import type { Task } from '../support/worker.process.js';

const GROUPS = 5;
/** Each queue's limits, and what its workers run meanwhile. */
const QUEUES = {
  global: { options: { concurrency: 3, maxGlobalConcurrency: 3 }, ms: [50, 200], backlog: 20 },
  groups: { options: { concurrency: 6, group: { concurrency: 2 } }, ms: [50, 200], backlog: 40 },
  rate: { options: { concurrency: 10, limiter: { max: 50, duration: 1_000 } }, ms: [1, 20], backlog: 100 },
  'group rate': {
    options: { concurrency: 10, group: { limiter: { max: 5, duration: 1_000 } } },
    ms: [1, 20],
    backlog: 40,
  },
  all: {
    options: {
      ...{ concurrency: 6, maxGlobalConcurrency: 5 },
      ...{ group: { concurrency: 2 }, limiter: { max: 20, duration: 1_000 } },
    },
    ms: [50, 200],
    backlog: 40,
  },
} as const;
const LEASE = 1_500;

/** Every limit, while worker processes are killed. */
export const limits: Drill = {
  name: 'limits',
  title: 'limits under kills: never over one by the times of handlers, and nothing of them leaks',
  async run(bench) {
    const { random, oracle } = bench;
    const common = { lockDuration: LEASE, stalledInterval: 300, maxStalledCount: 1_000 };
    const queues = Object.entries(QUEUES).map(([name, { options }]) => ({ name, options: { ...common, ...options } }));
    const crew = bench.crew({ size: 4, plan: { url: bench.url, queues } });
    const store = await bench.open();
    const feeding = { on: true };
    const feeds = Object.entries(QUEUES).map(async ([name, { ms, backlog }]) => {
      const queue = new Queue<Task>(name, { store });
      let next = 0;
      while (feeding.on) {
        const missing = backlog - (await queue.count('waiting'));
        const jobs = Array.from({ length: Math.max(0, missing) }, () => {
          const opts: JobOptions = { group: { id: `g${next++ % GROUPS}` } };
          return { name: 'job', data: { ms: [...ms] as [number, number] }, opts };
        });
        if (jobs.length > 0) await queue.addBulk(jobs);
        await sleep(200);
      }
    });
    await until(() => crew.allReady(), { timeout: 30_000 });
    const end = performance.now() + bench.size(20_000, 3_600_000);
    let killed = 0;
    while (performance.now() < end) {
      await sleep(random.int(300, 900));
      const time = await oracle.now();
      const member = crew.killOne();
      if (!member) continue;
      killed++;
      // What it began after this moment is counted too long by as little as it takes to die.
      member.child.once('exit', () => setTimeout(() => oracle.died(member.pid, time).catch(() => {}), 100));
    }
    await until(() => crew.allReady(), { timeout: 30_000 });
    await sleep(LEASE + 1_000);
    const calm = await oracle.now();
    await sleep(6_000);
    feeding.on = false;
    await Promise.all(feeds);
    await crew.dismiss();
    bench.figure('kills', killed);
    await judge(bench, calm);
  },
};

async function judge(bench: Bench, calm: number): Promise<void> {
  const { oracle } = bench;
  const byGroup = true;
  const highest = async (what: string, value: Promise<number>, limit: number) => {
    bench.figure(`${what}, of ${limit}`, await value);
    bench.check((await value) <= limit, `${what}: ${await value}, ${limit} allowed`);
  };
  await highest('maxGlobalConcurrency, at once', oracle.peak('global'), 3);
  await highest('group.concurrency, at once', oracle.peak('groups', { byGroup }), 2);
  await highest('limiter, claims in 1 s', oracle.claimsWithin('rate', 1_000), 50);
  await highest('group.limiter, claims in 1 s', oracle.claimsWithin('group rate', 1_000, { byGroup }), 5);
  await highest('all limits, at once', oracle.peak('all'), 5);
  await highest('all limits, of a group at once', oracle.peak('all', { byGroup }), 2);
  await highest('all limits, claims in 1 s', oracle.claimsWithin('all', 1_000), 20);
  const [global, groups] = [
    await oracle.peak('global', { since: calm }),
    await oracle.peak('groups', { byGroup, since: calm }),
  ];
  bench.check(global === 3 && groups === 2, `after the kills only ${global} of 3 and ${groups} of 2 at once`);
}

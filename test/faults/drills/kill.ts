import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Bench, Drill } from '../support/drill.js';
import { seconds, some } from '../support/figures.js';
import { type Load, startLoad } from '../support/load.js';
import type { Task } from '../support/worker.process.js';

const LEASE = 1_500;

/** kill -9 of worker processes, at random moments of their jobs. */
export const kill: Drill = {
  name: 'kill',
  title: 'kill -9 of workers: no acknowledged job lost, one effect each with completeIn, all ended 2 leases later',
  async run(bench) {
    const { oracle, random } = bench;
    const [jobs, kills] = [bench.size(5_000, 200_000), bench.size(40, 1_000)];
    const options = { concurrency: 4, lockDuration: LEASE, stalledInterval: 300, maxStalledCount: 1_000 };
    const names = ['beside', 'together'] as const;
    const crew = bench.crew({ size: 4, plan: { url: bench.url, queues: names.map((name) => ({ name, options })) } });
    const store = await bench.open();
    const loads = names.map((name) =>
      startLoad({
        queue: new Queue<Task>(name, { store }),
        random: random.fork(name),
        task: () => ({ ms: [1, 20], together: name === 'together', trouble: 20 }),
        opts: (own) => ({ attempts: 1_000, ...(own.chance(0.2) && { removeOnComplete: true }) }),
        // Their statements are planned anew each time, so they take longer.
        count: name === 'together' ? jobs / 5 : (jobs * 4) / 5,
        pause: [5, 40],
      }),
    );
    await until(() => crew.allReady(), { timeout: 20_000 });

    // One kill whenever another share of the jobs has begun, so that the last one meets the last jobs.
    let killed = 0;
    for (let due = 0; killed < kills; due += (jobs * 0.99) / kills) {
      await until(async () => (await oracle.runs()) >= due, { timeout: 120_000, what: `${due} runs` });
      await sleep(random.int(0, 20));
      if (await until(() => crew.killOne(), { timeout: 20_000, what: 'a worker to kill' })) killed++;
    }
    const last = performance.now();
    await Promise.all(loads.map(({ done }) => done));
    const ended = await until(async () => (await oracle.unended()) === 0, { timeout: 60_000 }).catch(() => false);
    const settled = performance.now() - last;
    await crew.dismiss();

    bench.figure(
      'jobs acknowledged',
      loads.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0),
    );
    bench.figure('kills', killed);
    const runs = await oracle.runs();
    bench.figure('handlers begun', runs);
    bench.figure('all ended after the last kill', seconds(settled));
    bench.check(ended, `${await oracle.unended()} jobs have not ended after a minute`);
    bench.check(settled < 2 * LEASE + 1_000, `the last jobs ended ${seconds(settled)} after the last kill`);
    await judge(bench, loads[0]!, Number.MAX_SAFE_INTEGER);
    await judge(bench, loads[1]!, 1);
  },
};

async function judge({ oracle, ...bench }: Bench, { acknowledged, refused }: Load, most: number): Promise<void> {
  const [lost, bad] = [await oracle.lost(acknowledged), await oracle.notCompleted(acknowledged)];
  const outside = await oracle.effectsOutside(acknowledged, 1, most);
  bench.check(Object.keys(refused).length === 0, `adds were refused: ${JSON.stringify(refused)}`);
  bench.check(lost.length === 0, `acknowledged and lost: ${some(lost)}`);
  bench.check(bad.length === 0, `acknowledged and not completed: ${some(bad)}`);
  bench.check(outside.length === 0, `effects not between 1 and ${most}: ${some(outside)}`);
}

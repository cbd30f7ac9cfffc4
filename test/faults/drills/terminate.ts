import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Drill } from '../support/drill.js';
import { seconds, some, spread, tally } from '../support/figures.js';
import { startLoad } from '../support/load.js';
import type { Task } from '../support/worker.process.js';

const LEASE = 4_000;
const BACK_WITHIN = 2_000;

/** pg_terminate_backend of random backends of producers and workers, those that LISTEN included. */
export const terminate: Drill = {
  name: 'terminate',
  title: 'pg_terminate_backend of random backends: nothing lost, no process ends, back within 2 s',
  async run(bench) {
    const { oracle, random, sql } = bench;
    const terminations = bench.size(150, 10_000);
    const options = { concurrency: 8, lockDuration: LEASE, stalledInterval: 500, maxStalledCount: 1_000 };
    const errors: Record<string, number> = {};
    const crew = bench.crew({
      size: 2,
      plan: { url: bench.url, queues: [{ name: 'beside', options }] },
      onMessage({ kind, code }) {
        if (kind === 'error') errors[String(code)] = (errors[String(code)] ?? 0) + 1;
      },
    });
    const store = await bench.open();
    const queue = new Queue<Task>('beside', { store });
    const load = startLoad({
      ...{ queue, random: random.fork('load') },
      task: (own) => ({ ms: [1, 20], writes: own.chance(0.2) }),
      opts: () => ({ attempts: 1_000 }),
      pause: [20, 60],
    });
    await until(() => crew.allReady(), { timeout: 20_000 });

    let [done, listeners] = [0, 0];
    while (done < terminations) {
      await sleep(random.int(60, 160));
      const backends = await sql`select pid, query from pg_stat_activity where datname = current_database()
        and application_name <> 'oracle' and backend_type = 'client backend' order by backend_start`;
      if (backends.length === 0) continue;
      const { pid, query } = random.pick(backends) as { pid: number; query: string };
      const [row] = await sql`select pg_terminate_backend(${pid}) as ok`;
      if (!row?.['ok']) continue;
      done++;
      if (/listen|conveyor: poll/i.test(query)) listeners++;
    }
    const from = performance.now();
    await load.stop();
    const stopped = performance.now() - from;
    const ended = await until(async () => (await oracle.unended()) === 0, { timeout: 60_000 }).catch(() => false);
    const settled = performance.now() - from;

    bench.figure('backends terminated', `${done}, ${listeners} of them after LISTEN or a poll`);
    bench.figure('jobs acknowledged', load.acknowledged.size);
    bench.figure('add, ms p50/p99/max', spread(load.times));
    bench.figure('adds refused', tally(load.refused));
    bench.figure("workers' errors", tally(errors));
    bench.figure('all ended after', seconds(settled));
    const [gap] = await sql`select extract(epoch from max(gap)) * 1000 as ms from (
      select began - lag(began) over (order by began) as gap from drill_run) gaps`;
    bench.figure('longest time without a new run', seconds(Number(gap?.['ms'])));
    bench.check(stopped < BACK_WITHIN, `an add hung for ${seconds(stopped)}`);
    bench.check(Math.max(...load.times) < BACK_WITHIN, `an add took ${seconds(Math.max(...load.times))}`);
    bench.check(Number(gap?.['ms']) < BACK_WITHIN, `no run began for ${seconds(Number(gap?.['ms']))}`);
    bench.check(ended, `${await oracle.unended()} jobs have not ended after a minute`);
    const [lost, bad] = [await oracle.lost(load.acknowledged), await oracle.notCompleted(load.acknowledged)];
    const without = await oracle.effectsOutside(load.acknowledged, 1, Number.MAX_SAFE_INTEGER);
    bench.check(lost.length === 0, `acknowledged and lost: ${some(lost)}`);
    bench.check(bad.length === 0, `acknowledged and not completed: ${some(bad)}`);
    bench.check(without.length === 0, `acknowledged and never finished: ${some(without)}`);
  },
};

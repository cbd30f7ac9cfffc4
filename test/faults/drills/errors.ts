import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Drill } from '../support/drill.js';
import { seconds, some, spread, tally } from '../support/figures.js';
import { startLoad } from '../support/load.js';
import { startWire } from '../support/wire.js';
import type { Task } from '../support/worker.process.js';

/** Of statements; half of these end their connection. */
const CODES = ['53300', '57P01', '57P03', '25006', '40001', '40P01', '55P03', '57014'];
const SHARE = 0.05;
/** What a caller is told: a statement that may have taken effect or was cancelled, and a lock. All else is repeated. */
const REPORTS = ['CONNECTION', 'PG_55P03'];
/** A statement is repeated for about 3 s where that is safe. */
const LONGEST = 6_000;

/** One statement in twenty of producers and workers fails with an error of the server that passes. */
export const errors: Drill = {
  name: 'errors',
  title: 'errors that pass at 5 %, by SQLSTATE: repeated or reported as what they are, bounded, nothing lost',
  async run(bench) {
    const { oracle, random } = bench;
    const wire = await startWire(bench.url);
    bench.defer(() => wire.close());
    const options = { concurrency: 8, lockDuration: 6_000, stalledInterval: 500, maxStalledCount: 1_000 };
    const told: Record<string, number> = {};
    const crew = bench.crew({
      size: 2,
      plan: { url: wire.url, oracle: bench.url, queues: [{ name: 'beside', options }] },
      onMessage({ kind, code }) {
        if (kind === 'error') told[String(code)] = (told[String(code)] ?? 0) + 1;
      },
    });
    const store = await bench.open({ connection: wire.url });
    await until(() => crew.allReady(), { timeout: 20_000 });
    const choices = random.fork('errors');
    const failed: Record<string, number> = {};
    wire.decide = () => {
      if (!choices.chance(SHARE)) return 'pass';
      const sqlState = choices.pick(CODES);
      failed[sqlState] = (failed[sqlState] ?? 0) + 1;
      return { sqlState };
    };
    const load = startLoad({
      queue: new Queue<Task>('beside', { store }),
      random: random.fork('load'),
      task: (own) => ({ ms: [1, 20], writes: own.chance(0.2) }),
      opts: () => ({ attempts: 1_000 }),
      count: bench.size(5_000, 100_000),
      pause: [5, 20],
    });
    await load.done;
    const ended = await until(async () => (await oracle.unended()) === 0, { timeout: 90_000 }).catch(() => false);
    wire.decide = () => 'pass';

    bench.figure('jobs acknowledged', load.acknowledged.size);
    bench.figure('statements failed', tally(failed));
    bench.figure('adds refused', tally(load.refused));
    bench.figure("workers' errors", tally(told));
    bench.figure('add, ms p50/p99/max', spread(load.times));
    const longest = Math.max(...load.times);
    bench.check(longest < LONGEST, `an add took ${seconds(longest)}`);
    const strange = [...Object.keys(load.refused)].filter((code) => !REPORTS.includes(code));
    bench.check(strange.length === 0, `adds refused with ${strange}`);
    bench.check(ended, `${await oracle.unended()} jobs have not ended`);
    const [lost, bad] = [await oracle.lost(load.acknowledged), await oracle.notCompleted(load.acknowledged)];
    const without = await oracle.effectsOutside(load.acknowledged, 1, Number.MAX_SAFE_INTEGER);
    bench.check(lost.length === 0, `acknowledged and lost: ${some(lost)}`);
    bench.check(bad.length === 0, `acknowledged and not completed: ${some(bad)}`);
    bench.check(without.length === 0, `acknowledged and never finished: ${some(without)}`);
  },
};

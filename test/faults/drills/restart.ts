import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { startEmbedded } from '../../support/embedded.js';
import { until } from '../../support/until.js';
import { oracleClient } from '../support/bench.js';
import type { Drill } from '../support/drill.js';
import { seconds, some, tally } from '../support/figures.js';
import { startLoad } from '../support/load.js';
import type { Task } from '../support/worker.process.js';

const BACK_WITHIN = 5_000;

/** The server ends as in a crash, and is started again. The oracle's tables are on another one. */
export const restart: Drill = {
  name: 'restart',
  title:
    'Postgres stopped with -m immediate under load and started again: what was acknowledged holds, back within 5 s',
  async run(bench) {
    const { random } = bench;
    const rounds = bench.size(5, 200);
    const server = await startEmbedded({ version: process.env['PG_VERSION'] });
    bench.defer(() => server.stop());
    const store = await bench.open({ connection: server.url });
    const options = { concurrency: 8, lockDuration: 6_000, stalledInterval: 500, maxStalledCount: 1_000 };
    const completed: { job: string; run: string }[] = [];
    const crew = bench.crew({
      size: 3,
      respawn: false,
      plan: { url: server.url, oracle: bench.url, queues: [{ name: 'beside', options }] },
      onMessage({ kind, job, run }) {
        if (kind === 'completed') completed.push({ job: String(job), run: String(run) });
      },
    });
    const load = startLoad({
      queue: new Queue<Task>('beside', { store }),
      random: random.fork('load'),
      task: (own) => ({ ms: own.chance(0.1) ? [1_000, 2_000] : [5, 30] }),
      opts: () => ({ attempts: 1_000 }),
      lanes: 6,
      pause: [20, 60],
    });
    await until(() => crew.allReady(), { timeout: 20_000 });

    const [adds, runs]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      await sleep(random.int(1_500, 3_000));
      await server.halt('SIGQUIT');
      await sleep(random.int(200, 2_500));
      await server.resume();
      const up = performance.now();
      const [before, acks] = [await bench.oracle.runs(), load.acks.length];
      const goesOn = async (fact: () => boolean | Promise<boolean>) =>
        until(fact, { timeout: 30_000 }).then(
          () => performance.now() - up,
          () => Number.POSITIVE_INFINITY,
        );
      const [add, run] = await Promise.all([
        goesOn(() => load.acks.length > acks),
        goesOn(async () => (await bench.oracle.runs()) > before),
      ]);
      adds.push(add);
      runs.push(run);
    }
    await load.stop();
    const sql = oracleClient(server.url);
    bench.defer(() => sql.end({ timeout: 1 }));
    const open = async () =>
      Number((await sql`select count(*) as n from conveyor_jobs where state not in ('completed', 'failed')`)[0]?.['n']);
    const ended = await until(async () => (await open()) === 0, { timeout: 60_000 }).catch(() => false);
    await sleep(500); // for messages that are on their way
    await crew.dismiss();

    const rows = await sql`select id, state, returnvalue->>'run' as run from conveyor_jobs`;
    const stored = new Map(rows.map((row) => [String(row['id']), row]));
    const lost = [...load.acknowledged].filter((id) => !stored.has(id));
    const bad = [...load.acknowledged].filter((id) => stored.has(id) && stored.get(id)?.['state'] !== 'completed');
    const undone = completed.filter(({ job, run }) => stored.get(job)?.['run'] !== run).map(({ job }) => job);
    const twice = completed.length - new Set(completed.map(({ job }) => job)).size;
    bench.figure('crashes of the server', rounds);
    bench.figure('adds acknowledged', load.acknowledged.size);
    bench.figure('adds refused', tally(load.refused));
    bench.figure('completions acknowledged', completed.length);
    bench.figure('first add after the start', seconds(Math.max(...adds)));
    bench.figure('first run after the start', seconds(Math.max(...runs)));
    bench.check(Math.max(...adds, ...runs) < BACK_WITHIN, 'work went on too late');
    bench.check(ended, `${await open()} jobs have not ended after a minute`);
    bench.check(lost.length === 0, `acknowledged and lost: ${some(lost)}`);
    bench.check(bad.length === 0, `acknowledged and not completed: ${some(bad)}`);
    bench.check(undone.length === 0, `acknowledged completions that did not hold: ${some(undone)}`);
    await bench.verify(store);
    bench.check(twice === 0, `${twice} jobs with two events 'completed'`);
  },
};

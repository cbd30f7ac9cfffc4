import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import { oracleClient } from '../support/bench.js';
import { type Cluster, startCluster } from '../support/cluster.js';
import type { Bench, Drill } from '../support/drill.js';
import { seconds, some, tally } from '../support/figures.js';
import { startLoad } from '../support/load.js';
import { startNetwork } from '../support/network.js';
import type { Task } from '../support/worker.process.js';

const BACK_WITHIN = 5_000;

interface Sums {
  adds: number;
  completions: number;
  back: number[];
  refused: Record<string, number>;
}

/** A primary that becomes read-only, and then is gone, while its synchronous standby is promoted. */
export const failover: Drill = {
  name: 'failover',
  title:
    'a standby is promoted, by host1,host2 and by one moving address: nothing acknowledged is lost, back within 5 s',
  async run(bench) {
    const rounds = bench.size(2, 20);
    const sums: Sums = { adds: 0, completions: 0, back: [], refused: {} };
    let version = '';
    for (let round = 0; round < rounds; round++) {
      const cluster = await startCluster();
      version = cluster.version;
      try {
        await failOver(bench, cluster, round % 2 === 0, sums);
      } finally {
        await cluster.remove();
      }
    }
    bench.figure('failovers', `${rounds}, of Postgres ${version}`);
    bench.figure('adds acknowledged', sums.adds);
    bench.figure('adds refused', tally(sums.refused));
    bench.figure('completions acknowledged', sums.completions);
    bench.figure('first add and run after the promotion', seconds(Math.max(...sums.back)));
    bench.check(Math.max(...sums.back) < BACK_WITHIN, `back only after ${sums.back.map(seconds)}`);
  },
};

async function failOver(bench: Bench, cluster: Cluster, twoHosts: boolean, sums: Sums): Promise<void> {
  const moving = await startNetwork(cluster.primary, bench.random);
  const { host, pathname } = new URL(cluster.standby);
  const both = `${new URL(cluster.primary).host},${host}`;
  const url = twoHosts ? `postgres://postgres@${both}${pathname}?target_session_attrs=read-write` : moving.url;
  const store = await bench.open({ connection: url });
  const completed: { job: string; run: string }[] = [];
  const options = { concurrency: 8, lockDuration: 6_000, stalledInterval: 500, maxStalledCount: 1_000 };
  const crew = bench.crew({
    size: 2,
    respawn: false,
    plan: { url, oracle: bench.url, queues: [{ name: 'beside', options }] },
    onMessage({ kind, job, run }) {
      if (kind === 'completed') completed.push({ job: String(job), run: String(run) });
    },
  });
  await until(() => crew.allReady(), { timeout: 30_000 });
  const load = startLoad({
    queue: new Queue<Task>('beside', { store }),
    random: bench.random.fork(url),
    task: () => ({ ms: [5, 30] }),
    opts: () => ({ attempts: 1_000 }),
    pause: [20, 60],
  });
  await sleep(bench.random.int(2_000, 4_000));
  await cluster.freezePrimary();
  await sleep(bench.random.int(500, 2_000));
  await cluster.promote();
  moving.retarget(cluster.standby);
  // The old primary still answers, and refuses every write.
  const up = performance.now();
  const [runs, acks] = [await bench.oracle.runs(), load.acks.length];
  const goesOn = async () => load.acks.length > acks && (await bench.oracle.runs()) > runs;
  sums.back.push(
    await until(goesOn, { timeout: 30_000 }).then(
      () => performance.now() - up,
      () => Infinity,
    ),
  );
  await sleep(1_000);
  await cluster.losePrimary();
  await sleep(1_000);
  await load.stop();
  const sql = oracleClient(cluster.standby, 2);
  const open = async () =>
    Number((await sql`select count(*) as n from conveyor_jobs where state not in ('completed', 'failed')`)[0]?.['n']);
  const ended = await until(async () => (await open()) === 0, { timeout: 60_000 }).catch(() => false);
  bench.check(ended, `${await open()} jobs have not ended after a minute`);
  await sleep(300); // for messages that are on their way
  await crew.dismiss();
  const rows = await sql`select id, state, returnvalue->>'run' as run from conveyor_jobs`;
  const stored = new Map(rows.map((row) => [String(row['id']), row]));
  const lost = [...load.acknowledged].filter((id) => stored.get(id)?.['state'] !== 'completed');
  const undone = completed.filter(({ job, run }) => stored.get(job)?.['run'] !== run).map(({ job }) => job);
  bench.check(lost.length === 0, `acknowledged, and lost or not completed: ${some(lost)}`);
  bench.check(undone.length === 0, `acknowledged completions that did not hold: ${some(undone)}`);
  await bench.verify(store);
  sums.adds += load.acknowledged.size;
  sums.completions += completed.length;
  for (const [code, count] of Object.entries(load.refused)) sums.refused[code] = (sums.refused[code] ?? 0) + count;
  await store.disconnect();
  await sql.end({ timeout: 1 });
  await moving.close();
}

import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Crew } from '../support/crew.js';
import type { Bench, Drill } from '../support/drill.js';
import { seconds, some, spread, tally } from '../support/figures.js';
import { startLoad } from '../support/load.js';
import { type Network, startNetwork } from '../support/network.js';
import type { Task } from '../support/worker.process.js';

const LEASE = 4_000;
const LIMIT = 3_000;
/** A call is repeated for about 3 s where that is safe. */
const RETRIES = 5_000;

/** Workers and a producer, each behind a network of its own that goes dead, delays and loses. */
export const network: Drill = {
  name: 'network',
  title: 'half-open connections, 200 ms delay, 5 % loss: no call hangs, handlers abort before their lease ends',
  async run(bench) {
    const { oracle, random } = bench;
    const options = { concurrency: 4, lockDuration: LEASE, stalledInterval: 500, maxStalledCount: 1_000 };
    const networks: Network[] = [];
    const open = async (name: string) => {
      const made = await startNetwork(bench.url, random.fork(name));
      networks.push(made);
      bench.defer(() => made.close());
      return made;
    };
    const crews: Crew[] = [];
    for (let i = 0; i < 4; i++) {
      const { url } = await open(`network ${i}`);
      const queues = [{ name: 'beside', options }];
      const plan = { url, oracle: bench.url, queues, store: { statementTimeout: LIMIT } };
      crews.push(bench.crew({ size: 1, respawn: false, plan }));
    }
    const far = await open('producer');
    const store = await bench.open({ connection: far.url, statementTimeout: LIMIT });
    const load = startLoad({
      queue: new Queue<Task>('beside', { store }),
      random: random.fork('load'),
      task: () => ({ ms: [100, 8_000], heeds: true }),
      opts: () => ({ attempts: 1_000 }),
      pause: [600, 1_200],
    });
    await until(() => crews.every((crew) => crew.allReady()), { timeout: 20_000 });

    const rounds = bench.size(6, 100);
    const [least, most] = [5_000, bench.long ? 60_000 : 10_000];
    await freezeInTurn(bench, networks, rounds, [least, most]);
    const longest = Math.max(...load.times);
    bench.figure('half-open networks', `${rounds}, each for ${seconds(least)} to ${seconds(most)}`);
    bench.figure('add, ms p50/p99/max', spread(load.times));
    bench.check(longest < LIMIT + RETRIES, `an add took ${seconds(longest)}; the limit of a statement is ${LIMIT} ms`);
    await sleep(LEASE);

    const from = await oracle.now();
    for (const one of networks) one.slow(100, 0.05); // one way
    await sleep(bench.size(10_000, 600_000));
    const lostWhileSlow =
      await bench.sql`select run from drill_run where began > to_timestamp(${from / 1000}) and why = 'LEASE_LOST'`;
    for (const one of networks) one.slow(0, 0);
    await load.stop();
    const began = performance.now();
    const ended = await until(async () => (await oracle.unended()) === 0, { timeout: 60_000 }).catch(() => false);

    bench.figure('jobs acknowledged', load.acknowledged.size);
    bench.figure('adds refused', tally(load.refused));
    bench.figure('leases lost with delay and loss only', lostWhileSlow.length);
    bench.figure('all ended after', seconds(performance.now() - began));
    bench.check(lostWhileSlow.length === 0, `${lostWhileSlow.length} leases lost though every network worked`);
    bench.check(ended, `${await oracle.unended()} jobs have not ended after a minute`);
    const [lost, bad] = [await oracle.lost(load.acknowledged), await oracle.notCompleted(load.acknowledged)];
    bench.check(lost.length === 0, `acknowledged and lost: ${some(lost)}`);
    bench.check(bad.length === 0, `acknowledged and not completed: ${some(bad)}`);
    await judgeAborts(bench);
  },
};

/** At most two networks are dead at once. */
async function freezeInTurn(bench: Bench, networks: Network[], rounds: number, ms: [number, number]): Promise<void> {
  const { random } = bench;
  const dead = new Map<Network, Promise<void>>();
  for (let round = 0; round < rounds; round++) {
    if (dead.size >= 2) await Promise.race(dead.values());
    const one = random.pick(networks.filter((network) => !dead.has(network)));
    one.freeze();
    const over = sleep(random.int(...ms)).then(() => {
      one.thaw();
      dead.delete(one);
    });
    dead.set(one, over);
    await sleep(random.int(300, 1_500));
  }
  await Promise.all(dead.values());
}

/** Where a job was claimed again, its earlier handler had ended or been aborted, by the server's clock. */
async function judgeAborts({ sql, ...bench }: Bench): Promise<void> {
  const rows = await sql`
    select earlier.run, extract(epoch from least(earlier.aborted, earlier.ended) - later.claimed) * 1000 as late from drill_run earlier
    join lateral (select claimed from drill_run where job_id = earlier.job_id and claimed > earlier.claimed
      order by claimed limit 1) later on true`;
  const late = rows.filter((row) => row['late'] === null || Number(row['late']) > 0);
  const [row] = await sql`select count(*) as n from drill_run where ended is null and aborted is null`;
  const early = rows.flatMap((one) => (one['late'] === null ? [] : -Number(one['late'])));
  bench.figure('jobs taken over', rows.length);
  bench.figure('handler aborted or ended before the next claim, ms p50/p99/max', spread(early));
  bench.check(rows.length > 0, 'no job was taken over: the drill shows nothing');
  bench.check(late.length === 0, `${late.length} handlers were not aborted when their job was claimed again`);
  bench.check(Number(row?.['n']) === 0, `${row?.['n']} handlers neither ended nor were aborted`);
}

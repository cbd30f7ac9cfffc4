import { setTimeout as sleep } from 'node:timers/promises';
import { jobIn } from '../../support/rows.js';
import { until } from '../../support/until.js';
import { judgeLeases, judgeTicks, judgeTimes, SLACK } from '../support/clock-times.js';
import type { Crew } from '../support/crew.js';
import type { Bench, Drill } from '../support/drill.js';
import { spread } from '../support/figures.js';
import { skewed } from '../support/skew.js';

const DAY = 86_400_000;
const LEASE = 2_000;
const SWEEP = 300;
const RATE = { max: 10, duration: 1_000 };

/** Producers and workers whose clocks are a day ahead, a day behind, and jumping. */
export const clocks: Drill = {
  name: 'clocks',
  title: 'client clocks ±24 h and jumping: no lease stolen, nothing early, nothing more than 1 s late',
  async run(bench) {
    const { sql, oracle } = bench;
    const time = bench.size(14_000, 600_000);
    const common = { concurrency: 8, lockDuration: LEASE, stalledInterval: SWEEP, maxStalledCount: 1_000 };
    const queues = ['beside', 'rated'].map((name) => ({
      name,
      options: { ...common, ...(name === 'rated' && { limiter: RATE }) },
    }));
    const keys: { held: boolean; expired: boolean }[] = [];
    const start = await oracle.now();
    const between = { startDate: new Date(start + 5_000), endDate: new Date(start + 11_000) };
    const crews = ([DAY, -DAY, 'jump', 0] as const).map((skew) =>
      bench.crew({
        size: 1,
        respawn: false,
        execArgv: ['--import', skewed(skew)],
        plan: {
          ...{ url: bench.url, queues },
          produce: {
            queue: 'beside',
            keyFor: 2_000,
            delays: [500, 1_000, 2_000, 3_000, 5_000],
            jobs: [
              ...Array.from({ length: 3 }, () => ({ task: { tag: 'lease', ms: [7_000, 9_000] as [number, number] } })),
              { task: { tag: 'retry', ms: [0, 5], failsOnce: true }, opts: RETRY },
              { task: { tag: 'timeout', ms: [5_000, 5_000], heeds: true }, opts: { timeout: 1_000 } },
            ],
            every: [{ ms: 1_000, repeat: { key: `every ${skew}` } }],
            cron: [{ line: '* * * * * *', repeat: { key: `between ${skew}`, ...between } }],
          },
        },
        onMessage: (said) => {
          if (said.kind === 'key') keys.push({ held: said['held'] === true, expired: said['expired'] === true });
        },
      }),
    );
    await until(() => crews.every((crew) => crew.allReady()), { timeout: 30_000 });
    const ready = await oracle.now();
    const store = await bench.open();
    await store.saveBulk(
      'rated',
      Array.from({ length: 60 }, () => rated()),
    );
    await sleep(time);
    const end = await oracle.now();
    bench.figure('observed', `${crews.length} processes for ${Math.round((end - ready) / 1000)} s`);
    bench.check(
      keys.length === crews.length && keys.every(({ held, expired }) => held && expired),
      `keys: ${JSON.stringify(keys)}`,
    );
    await judgeLeases(bench);
    await judgeTimes(bench);
    await judgeTicks(bench, between, ready, end);
    await judgeTakeover(bench, crews);
    const [rate] = await sql`select max(n) as n from (select count(*) over
      (order by claimed range between current row and interval '999 ms' following) as n from drill_run where queue = 'rated') w`;
    bench.figure(`claims in 1 s, of ${RATE.max}`, String(rate?.['n']));
    bench.check(Number(rate?.['n']) <= RATE.max, `${rate?.['n']} claims in one second, ${RATE.max} allowed`);
  },
};

const RETRY = { attempts: 2, backoff: { type: 'fixed', delay: 2_000 } };
const rated = () => jobIn('waiting', { queueName: 'rated', data: { tag: 'rated', ms: [0, 5] } });

/** The worker that is a day ahead dies: its job goes to another when its lease is over, and not before. */
async function judgeTakeover({ sql, open, ...bench }: Bench, crews: Crew[]): Promise<void> {
  const store = await open();
  await store.saveBulk(
    'beside',
    Array.from({ length: 40 }, () =>
      jobIn('waiting', { queueName: 'beside', data: { tag: 'dies', ms: [2_000, 2_000] } }),
    ),
  );
  const pids = crews.map((crew) => crew.members()[0]?.pid ?? 0);
  const begun = () => sql`select pid from drill_run where tag = 'dies'`;
  await until(async () => (await begun()).some(({ pid }) => pid === pids[0]));
  const killed = await bench.oracle.now();
  crews[0]?.killOne();
  await sleep(LEASE + SWEEP + 2 * SLACK);
  const rows = await sql`select extract(epoch from b.began) * 1000 - ${killed}::float8 as ms, a.pid from drill_run a
    left join drill_run b on b.job_id = a.job_id and b.claimed > a.claimed
    where a.tag = 'dies' and (a.pid = ${pids[0] ?? 0} or b.n is not null) and not exists (select from drill_run where job_id = a.job_id and claimed < a.claimed)`;
  const times = rows.map((row) => (row['ms'] === null ? Number.POSITIVE_INFINITY : Number(row['ms'])));
  bench.figure('taken over after, ms p50/p99/max', spread(times));
  bench.check(
    rows.every(({ pid }) => pid === pids[0]),
    'a job of a living worker was taken over',
  );
  bench.check(
    times.length > 0 && Math.max(...times) < LEASE + SWEEP + SLACK,
    `taken over after ${Math.max(...times)} ms`,
  );
}

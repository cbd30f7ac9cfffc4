import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Bench, Drill } from '../support/drill.js';
import { seconds } from '../support/figures.js';

const LIMIT = 20;
const EVERY = { half: 500, quick: 250 } as const;
/** Each job as it is made, with its tick: the time until which it is delayed. */
const NOTES = `
  create table drill_made (job_id text, key text, tick timestamptz);
  create function drill_made() returns trigger language plpgsql as $$ begin
    insert into drill_made values (new.id, new.schedule_key, coalesce(new.delay_until, clock_timestamp())); return null;
  end $$;
  create trigger drill_made after insert on conveyor_jobs for each row when (new.schedule_key is not null)
    execute function drill_made()`;

/** Schedules that every worker process registers when it starts, while processes are killed. */
export const schedules: Drill = {
  name: 'schedules',
  title: 'schedules under kills, registered with each start: one job per tick, none missing',
  async run(bench) {
    const { random, sql, oracle } = bench;
    await sql.unsafe(NOTES);
    const options = { concurrency: 4, lockDuration: 1_500, stalledInterval: 300, maxStalledCount: 1_000 };
    const overlap = 'all' as const;
    const crew = bench.crew({
      size: 4,
      plan: {
        url: bench.url,
        queues: [{ name: 'beside', options }],
        produce: {
          queue: 'beside',
          every: [
            { ms: EVERY.half, repeat: { key: 'half', overlap } },
            { ms: EVERY.quick, repeat: { key: 'limited', overlap, limit: LIMIT } },
          ],
          cron: [{ line: '* * * * * *', repeat: { key: 'second', overlap } }],
        },
      },
    });
    const store = await bench.open();
    const queue = new Queue('beside', { store });
    await until(() => crew.allReady(), { timeout: 30_000 });
    const from = await oracle.now();
    const end = performance.now() + bench.size(20_000, 3_600_000);
    let killed = 0;
    while (performance.now() < end) {
      await sleep(random.int(150, 600));
      // Two are left, one of which may be starting: ticks that pass while no process lives are not made up for.
      const ready = crew.members().filter((member) => member.ready).length;
      if (ready > 2 && crew.killOne()) killed++;
    }
    const to = await oracle.now();
    await sleep(4_000);
    const stored = await queue.getSchedules();
    bench.figure('kills, each followed by a registration', killed);
    bench.check(stored.length === 3, `${stored.length} schedules instead of 3`);
    await judge(bench, 'half', EVERY.half, from, to);
    await judge(bench, 'second', 1_000, from, to);
    const [made] = await sql`select count(*)::int as n from drill_made where key = 'limited'`;
    bench.check(made?.['n'] === LIMIT + 1, `limit ${LIMIT}: ${made?.['n']} jobs instead of ${LIMIT + 1}`);
  },
};

async function judge({ sql, ...bench }: Bench, key: string, ms: number, from: number, to: number): Promise<void> {
  const rows = await sql`
    select round(extract(epoch from tick) * 1000)::float8 as tick, m.job_id, count(r.n)::int as runs,
      extract(epoch from min(r.began) - tick) * 1000 as late
    from drill_made m left join drill_run r using (job_id) where key = ${key}
      and tick between to_timestamp(${from / 1000}) and to_timestamp(${to / 1000}) group by tick, m.job_id order by 1`;
  const ticks = rows.map((row) => Number(row['tick']));
  const gaps = ticks.slice(1).map((tick, i) => tick - ticks[i]!);
  const late = rows.map((row) => Number(row['late']));
  const never = rows.filter((row) => row['runs'] === 0);
  bench.figure(
    `${key}: ticks`,
    `${ticks.length} in ${seconds(to - from)}, the latest start ${Math.max(...late).toFixed(0)} ms late`,
  );
  bench.check(ticks.length >= Math.floor((to - from) / ms) - 1, `${key}: ${ticks.length} ticks in ${to - from} ms`);
  bench.check(
    gaps.every((gap) => gap === ms),
    `${key}: gaps of ${[...new Set(gaps)]} ms instead of ${ms}`,
  );
  bench.check(never.length === 0, `${key}: ${never.length} jobs never ran`);
  bench.check(Math.min(...late) >= 0, `${key}: a job ran ${-Math.min(...late)} ms early`);
}

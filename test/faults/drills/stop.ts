import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Crew, Member } from '../support/crew.js';
import type { Bench, Drill } from '../support/drill.js';
import { percentile, some, spread } from '../support/figures.js';
import { startLoad } from '../support/load.js';
import type { Task } from '../support/worker.process.js';

const LEASE = 1_500;
const ABORT_WITHIN = 100;

interface Events {
  readonly completed: { job: string; run: string }[];
  /** A lease that was lost: in which run, and how long after its process was continued; undefined: it never stopped. */
  readonly aborts: { run: string; after: number | undefined }[];
}

/** SIGSTOP of workers until their leases are over, then SIGCONT. */
export const stop: Drill = {
  name: 'stop',
  title: 'SIGSTOP past the lease, SIGCONT: stale writes refused, signals abort in 100 ms, the new holder undisturbed',
  async run(bench) {
    const { oracle, random } = bench;
    const stops = bench.size(40, 1_000);
    const options = { concurrency: 4, lockDuration: LEASE, stalledInterval: 300, maxStalledCount: 1_000 };
    const names = ['beside', 'together'] as const;
    const events: Events = { completed: [], aborts: [] };
    const continued = new Map<number, number>();
    const crew = bench.crew({
      size: 5,
      plan: { url: bench.url, queues: names.map((name) => ({ name, options })) },
      onMessage({ kind, at, job, run, why }, { pid }) {
        if (kind === 'completed') events.completed.push({ job: String(job), run: String(run) });
        if (kind !== 'aborted' || why !== 'LEASE_LOST') return;
        const since = continued.get(pid);
        events.aborts.push({ run: String(run), after: since === undefined ? undefined : at - since });
      },
    });
    const store = await bench.open();
    const loads = names.map((name) =>
      startLoad({
        queue: new Queue<Task>(name, { store }),
        random: random.fork(name),
        task: () => ({ ms: [200, 1_500], together: name === 'together', writes: true }),
        opts: () => ({ attempts: 1_000 }),
        lanes: 2,
        pause: [500, 900],
      }),
    );
    await until(() => crew.allReady(), { timeout: 20_000 });
    await stopInTurn(bench, crew, stops, continued);
    await Promise.all(loads.map((load) => load.stop()));
    const ended = await until(async () => (await oracle.unended()) === 0, { timeout: 60_000 }).catch(() => false);
    bench.check(ended, `${await oracle.unended()} jobs have not ended after a minute`);
    await sleep(500); // for messages that are on their way
    await crew.dismiss();

    const acknowledged = loads.map((load) => load.acknowledged);
    bench.figure('stops', stops);
    bench.figure('jobs', acknowledged[0]!.size + acknowledged[1]!.size);
    const outside = await oracle.effectsOutside(acknowledged[1]!, 1, 1);
    bench.check(outside.length === 0, `effects with completeIn not 1: ${some(outside)}`);
    const bad = await oracle.notCompleted([...acknowledged[0]!, ...acknowledged[1]!]);
    bench.check(bad.length === 0, `not completed: ${some(bad)}`);
    await judgeWrites(bench);
    await judgeEvents(bench, events);
  },
};

async function stopInTurn(bench: Bench, crew: Crew, stops: number, continued: Map<number, number>): Promise<void> {
  const { random } = bench;
  const continuing = new Set<Promise<void>>();
  const halt = async (member: Member, ms: number) => {
    member.stopped = true;
    member.child.kill('SIGSTOP');
    await sleep(ms);
    continued.set(member.pid, Date.now());
    member.child.kill('SIGCONT');
    // What it lost meanwhile it must have noticed before it is stopped again.
    await sleep(1_000);
    member.stopped = false;
  };
  for (let n = 0; n < stops; n++) {
    const running = () => crew.members().filter(({ stopped }) => !stopped);
    await until(() => running().length > 2, { timeout: 20_000 });
    const stopping = halt(random.pick(running()), random.int(LEASE * 1.3, LEASE * 2));
    continuing.add(stopping);
    await sleep(random.int(200, 700));
  }
  await Promise.all(continuing);
}

/** A write is stale when another run of its job had begun before it was asked for. */
async function judgeWrites({ sql, ...bench }: Bench): Promise<void> {
  const [row] = await sql`
    select count(*) as asked, count(*) filter (where accepted) as accepted, min(kind) filter (where accepted) as kind
    from drill_write w join drill_run own using (run)
    where exists (select from drill_run later where later.job_id = own.job_id and later.claimed > own.claimed and later.began < w.asked)`;
  bench.figure('stale writes asked for', row?.['asked']);
  bench.figure('stale writes accepted', row?.['accepted']);
  bench.check(Number(row?.['asked']) > 0, 'no write was stale: the drill shows nothing');
  bench.check(Number(row?.['accepted']) === 0, `${row?.['accepted']} stale writes accepted, such as ${row?.['kind']}`);
}

async function judgeEvents({ sql, ...bench }: Bench, { completed, aborts }: Events): Promise<void> {
  const stored = await sql`select id, returnvalue->>'run' as run from conveyor_jobs where state = 'completed'`;
  const runs = new Map(stored.map(({ id, run }) => [id, run]));
  const twice = completed.length - new Set(completed.map(({ job }) => job)).size;
  const other = completed.filter(({ job, run }) => runs.get(job) !== run);
  bench.check(twice === 0, `${twice} jobs with two events 'completed'`);
  bench.check(other.length === 0, `${other.length} events 'completed' of a run whose result is not stored`);
  const times = aborts.flatMap(({ after }) => after ?? []);
  bench.figure('signals aborted', aborts.length);
  bench.figure('aborted after SIGCONT, ms p50/p99/max', spread(times));
  bench.check(times.length > 0 && percentile(times, 0.95) <= ABORT_WITHIN, `signals aborted late: ${spread(times)} ms`);
  const undisturbed = aborts.filter(({ after }) => after === undefined || after > 5_000);
  bench.check(undisturbed.length === 0, `${undisturbed.length} leases lost in processes that had not been stopped`);
}

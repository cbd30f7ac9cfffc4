import { setTimeout as sleep } from 'node:timers/promises';
import { type FlowJob, FlowProducer } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Bench, Drill } from '../support/drill.js';
import { seconds, some, tally } from '../support/figures.js';
import type { Random } from '../support/random.js';
import type { Task } from '../support/worker.process.js';

const LEVELS = ['together roots', 'together middles', 'leaves'];
const POLICIES = ['fail', 'ignore', 'remove'] as const;

/** What must become of a job, by the policies alone. */
interface Expected {
  readonly end: 'completed' | 'failed' | 'removed';
  readonly runs: boolean;
  /** Its effect is written in the transaction that completes it. */
  readonly once: boolean;
  /** It may be gone: it is removed when it ends. */
  readonly mayBeGone: boolean;
  /** Tags of the children that complete. */
  readonly values: string[];
}

/** Trees of three levels, with all policies, while worker processes are killed. */
export const flows: Drill = {
  name: 'flows',
  title: 'flows of every policy under kills: nothing waits for ever, no parent twice, all as the model says',
  async run(bench) {
    const { random, oracle } = bench;
    const options = { concurrency: 6, lockDuration: 1_500, stalledInterval: 300, maxStalledCount: 1_000 };
    const queues = LEVELS.map((name) => ({ name, options }));
    const crew = bench.crew({ size: 4, plan: { url: bench.url, queues } });
    const store = await bench.open();
    const producer = new FlowProducer({ store });
    const model = new Map<string, Expected>();
    await until(() => crew.allReady(), { timeout: 20_000 });
    let killed = 0;
    const state = { killing: true };
    const killing = (async () => {
      while (state.killing) {
        await sleep(random.int(800, 1_600));
        if (crew.killOne()) killed++;
      }
    })();
    const trees = random.fork('trees');
    const count = bench.size(100, 20_000);
    for (let i = 0; i < count; i++) {
      await producer.add(tree(trees, model, 0));
      if (i % 10 === 0) await sleep(20);
    }
    const added = performance.now();
    // Kills go on until few are left, and end: else the last job could be killed for ever.
    await until(async () => (await oracle.unended()) < 100, { timeout: 170_000, what: 'most jobs to end' });
    state.killing = false;
    await killing;
    const ended = await until(async () => (await oracle.unended()) === 0, { timeout: 60_000 }).catch(() => false);
    bench.figure('flows', `${count}, of ${model.size} jobs`);
    bench.figure('kills', killed);
    bench.figure('all ended after the last add', seconds(performance.now() - added));
    bench.check(ended, `${await oracle.unended()} jobs have not ended after a minute`);
    await judge(bench, model);
  },
};

function tree(random: Random, model: Map<string, Expected>, level: number): FlowJob {
  const tag = `n${model.size}-${level}-${random.int(0, 1e9)}`;
  const children = level === 2 ? [] : Array.from({ length: 3 - level }, () => tree(random, model, level + 1));
  const fails = random.chance(level === 2 ? 0.12 : 0.05);
  const policy = random.pick(POLICIES);
  const values = children
    .map(({ data }) => (data as Task).tag!)
    .filter((child) => model.get(child)?.end === 'completed');
  const stopped = values.length < children.length && policy !== 'ignore';
  const removes = random.chance(0.2);
  const end = stopped ? (policy === 'remove' ? 'removed' : 'failed') : fails ? 'failed' : 'completed';
  model.set(tag, { end, runs: !stopped, once: level < 2, mayBeGone: removes, values: values.sort() });
  const data: Task = { tag, ms: [1, 20], together: level < 2, fails, parent: children.length > 0 };
  return {
    ...{ name: `level ${level}`, queueName: LEVELS[level]!, data },
    opts: {
      failParentOnChildFailure: policy,
      ...(removes && { removeOnComplete: true, removeOnFail: true }),
      ...(random.chance(0.1) && { delay: 200 }),
    },
    ...(children.length > 0 && { children }),
  };
}

async function judge(bench: Bench, model: Map<string, Expected>): Promise<void> {
  const { sql } = bench;
  const rows = await sql`select data->>'tag' as tag, state, pending_children_count as pending,
    array(select v.value->>'tag' from jsonb_each(coalesce(returnvalue->'values', '{}')) v order by 1) as values
    from conveyor_jobs`;
  const stored = new Map(rows.map((row) => [String(row['tag']), row]));
  const done = await sql`select r.tag, count(distinct r.n)::int as runs, count(distinct e.run)::int as effects
    from drill_run r left join drill_effect e on e.run = r.run group by 1`;
  const acts = new Map(done.map((row) => [String(row['tag']), row]));
  const wrong: Record<string, string[]> = {};
  const note = (what: string, tag: string) => {
    wrong[what] ??= [];
    wrong[what].push(tag);
  };
  for (const [tag, { end, runs, once, mayBeGone, values }] of model) {
    const row = stored.get(tag);
    const state = String(row?.['state'] ?? 'removed');
    const { runs: ran = 0, effects = 0 } = acts.get(tag) ?? {};
    if (state !== end && !(state === 'removed' && mayBeGone)) note(`${state} instead of ${end}`, tag);
    if (!runs && ran > 0) note('ran, though a child had failed', tag);
    if (runs && ran === 0) note('never ran', tag);
    if (end !== 'completed' ? effects > 0 : effects < 1 || (once && effects > 1))
      note(`${effects} effects of one that is ${end}`, tag);
    if (row && Number(row['pending']) !== 0 && state === 'completed') note('counts children still', tag);
    if (state === 'completed' && String(row?.['values']) !== String(values))
      note('other values than its children', tag);
  }
  const early = await sql`select count(*)::int as n from drill_run p join conveyor_jobs c on c.parent_id = p.job_id
    where c.state not in ('completed', 'failed') or greatest(c.completed_at, c.failed_at) > p.claimed`;
  bench.check(early[0]?.['n'] === 0, `${early[0]?.['n']} children ended after their parent was claimed`);
  const states: Record<string, number> = { removed: model.size - rows.length };
  for (const { state } of rows as unknown as { state: string }[]) states[state] = (states[state] ?? 0) + 1;
  bench.figure('ended as', tally(states));
  for (const [what, tags] of Object.entries(wrong)) bench.fault(`${tags.length} ${what}: ${some(tags)}`);
}

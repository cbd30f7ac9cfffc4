import { setTimeout as sleep } from 'node:timers/promises';
import { payload } from '../contenders/contender.js';
import { addAll } from '../scenarios/add.js';
import { fill, pin } from '../scenarios/process.js';
import type { Figures, Scenario } from '../scenarios/scenario.js';
import { processAll, processFirst } from '../scenarios/work.js';

export interface Curve extends Scenario {
  readonly title: string;
  readonly xTitle: string;
  /** Abscissas of a full and of a short run. */
  readonly xs: readonly number[];
  readonly shortXs: readonly number[];
  /** The figures of one run are the curve: their names are the abscissas. */
  readonly series?: boolean;
  readonly linear?: boolean;
}

const STARTED = { figure: 'startedPerSecond', unit: 'jobs/s' } as const;
const ON_POSTGRES = ['conveyor', 'graphile-tuned', 'pg-boss', 'bullmq-pg', 'floor'];
const ALL = [...ON_POSTGRES, 'bullmq-redis'];

const backlog: Curve = {
  ...STARTED,
  title: 'Throughput over backlog',
  xTitle: 'jobs waiting',
  what: 'the first 20,000 of the jobs waiting',
  xs: [10_000, 100_000, 1_000_000, 3_000_000],
  shortXs: [10_000, 100_000, 300_000],
  needs: ['fill'],
  async run(context) {
    const waiting = context.x ?? 0;
    await fill(context, { waiting });
    return processFirst(context, Math.min(waiting, context.sizes.jobs));
  },
};

const history: Curve = {
  ...STARTED,
  title: 'Throughput over history',
  xTitle: 'jobs completed before',
  what: '20,000 waiting jobs beside completed ones',
  xs: [10_000, 100_000, 1_000_000, 3_000_000],
  shortXs: [10_000, 100_000, 300_000],
  needs: ['fill'],
  // graphile-worker keeps no history.
  only: ['conveyor', 'pg-boss', 'floor'],
  async run(context) {
    await fill(context, { completed: context.x ?? 0, waiting: context.sizes.jobs });
    return processFirst(context, context.sizes.jobs);
  },
};

const concurrency: Curve = {
  ...STARTED,
  title: 'Throughput over concurrency',
  xTitle: 'jobs at once, at most',
  what: 'waiting jobs with a no-op handler',
  xs: [1, 5, 10, 25, 50, 100, 250, 500],
  shortXs: [1, 10, 100, 500],
  needs: [],
  only: ALL,
  async run(context) {
    const jobs = Math.min(context.sizes.jobs, Math.max(2_000, (context.x ?? 1) * 500));
    await addAll(context, jobs);
    return processAll(context, jobs, { concurrency: context.x });
  },
};

const BYTES = 100_000_000;

const payloads: Curve = {
  ...STARTED,
  title: 'Throughput over payload',
  xTitle: 'bytes of payload',
  what: 'waiting jobs with a no-op handler; fewer jobs where they are large',
  xs: [100, 1_000, 10_000, 100_000],
  shortXs: [100, 10_000],
  needs: [],
  only: ALL,
  async run(context) {
    const bytes = context.x ?? 100;
    const jobs = Math.max(1_000, Math.min(context.sizes.jobs, BYTES / bytes));
    await addAll(context, jobs, { bytes });
    return processAll(context, jobs);
  },
};

/** Jobs waiting or active, as the producer keeps them. */
const OUTSTANDING = 5_000;
const CHUNK = 500;
const STEP_S = 5;

const pinned: Curve = {
  ...STARTED,
  title: 'Throughput under a pinned snapshot',
  xTitle: 'seconds; another session holds its snapshot from the line on',
  what: 'producer and worker in one process, some thousand jobs waiting; the snapshot is taken after a fifth of the time',
  xs: [180],
  shortXs: [30],
  series: true,
  linear: true,
  needs: ['postgres'],
  only: ON_POSTGRES,
  async run(context): Promise<Figures> {
    const seconds = context.x ?? 180;
    const counts = new Map<number, number>();
    let started = 0;
    let added = 0;
    const begin = performance.now();
    const elapsed = () => (performance.now() - begin) / 1000;
    await context.queue.work(
      () => {
        started++;
        const step = Math.floor(elapsed() / STEP_S);
        counts.set(step, (counts.get(step) ?? 0) + 1);
      },
      { purpose: 'throughput' },
    );
    let release: (() => Promise<void>) | undefined;
    while (elapsed() < seconds) {
      if (!release && elapsed() >= pinnedAfter(seconds)) release = await pin(context.address.postgres);
      if (added - started > OUTSTANDING) await sleep(1);
      else {
        await context.queue.addBulk(Array.from({ length: CHUNK }, () => payload(added++)));
      }
    }
    await release?.();
    const steps = Array.from({ length: Math.floor(seconds / STEP_S) }, (_, step) => step);
    return Object.fromEntries(steps.map((step) => [(step + 1) * STEP_S, (counts.get(step) ?? 0) / STEP_S]));
  },
};

/** When the snapshot is taken, in a run of so many seconds. */
export const pinnedAfter = (seconds: number): number => seconds / 5;

export const CURVES: Readonly<Record<string, Curve>> = {
  'curve:backlog': backlog,
  'curve:history': history,
  'curve:pinned': pinned,
  'curve:concurrency': concurrency,
  'curve:payload': payloads,
};



import { fill } from '../scenarios/process.js';
import { processFirst } from '../scenarios/work.js';
import { ALL, type Curve, STARTED } from './curve.js';

export const backlog: Curve = {
  ...STARTED,
  title: 'Throughput over backlog',
  xTitle: 'jobs waiting',
  what: 'the first 20,000 of the jobs waiting',
  xs: [10_000, 100_000, 1_000_000, 3_000_000],
  quickXs: [10_000, 100_000, 300_000],
  needs: [],
  only: ALL,
  async run(context) {
    const waiting = context.x ?? 0;
    await fill(context, { waiting });
    return processFirst(context, Math.min(waiting, context.sizes.jobs));
  },
};

export const history: Curve = {
  ...STARTED,
  title: 'Throughput over history',
  xTitle: 'jobs completed before',
  what: '20,000 waiting jobs beside completed ones',
  xs: [10_000, 100_000, 1_000_000, 3_000_000],
  quickXs: [10_000, 100_000, 300_000],
  needs: ['fill'],
  // graphile-worker keeps no history, and in Redis it can only be made by processing.
  only: ['conveyor', 'pg-boss', 'bullmq-pg', 'floor'],
  async run(context) {
    await fill(context, { completed: context.x ?? 0, waiting: context.sizes.jobs });
    return processFirst(context, context.sizes.jobs);
  },
};

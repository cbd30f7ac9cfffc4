import { addAll } from '../scenarios/add.js';
import { processAll } from '../scenarios/work.js';
import { ALL, type Curve, STARTED } from './curve.js';

export const concurrency: Curve = {
  ...STARTED,
  title: 'Throughput over concurrency',
  xTitle: 'jobs at once, at most',
  what: 'waiting jobs with a no-op handler',
  xs: [1, 5, 10, 25, 50, 100, 250, 500],
  quickXs: [1, 10, 100, 500],
  needs: [],
  only: ALL,
  async run(context) {
    const jobs = Math.min(context.sizes.jobs, Math.max(2_000, (context.x ?? 1) * 500));
    await addAll(context, jobs);
    return processAll(context, jobs, { concurrency: context.x });
  },
};

/** Bytes of payload in all, at most. */
const BYTES = 100_000_000;

export const payloads: Curve = {
  ...STARTED,
  title: 'Throughput over payload',
  xTitle: 'bytes of payload',
  what: 'waiting jobs with a no-op handler; fewer jobs where they are large',
  xs: [100, 1_000, 10_000, 100_000],
  quickXs: [100, 10_000],
  logY: true,
  needs: [],
  only: ALL,
  async run(context) {
    const bytes = context.x ?? 100;
    const jobs = Math.max(1_000, Math.min(context.sizes.jobs, BYTES / bytes));
    await addAll(context, jobs, { bytes });
    return processAll(context, jobs);
  },
};

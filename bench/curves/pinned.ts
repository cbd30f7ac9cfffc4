import { setTimeout as sleep } from 'node:timers/promises';
import { payload } from '../contenders/contender.js';
import { pin } from '../scenarios/process.js';
import type { Figures } from '../scenarios/scenario.js';
import { type Curve, ON_POSTGRES, STARTED } from './curve.js';

/** Jobs waiting or active, as the producer keeps them. */
const OUTSTANDING = 5_000;
const CHUNK = 500;
const STEP_S = 5;

/** When the snapshot is taken, in a run of so many seconds: at the end of a step. */
const pinnedAfter = (seconds: number): number => Math.max(1, Math.floor(seconds / 5 / STEP_S)) * STEP_S;

export const pinned: Curve = {
  ...STARTED,
  title: 'Throughput under a pinned snapshot',
  xTitle: 'seconds; another session holds its snapshot from the line on',
  what: 'producer and worker in one process, some thousand jobs waiting; the snapshot is taken after a fifth of the time',
  xs: [180],
  quickXs: [30],
  series: true,
  markAt: pinnedAfter,
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

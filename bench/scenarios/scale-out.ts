import { setTimeout as sleep } from 'node:timers/promises';
import { addAll } from './add.js';
import { awaitOrders, startPart } from './part.js';
import type { Context, Figures, Scenario } from './scenario.js';

const PROCESSES = 4;

export const scaleOut: Scenario = {
  what: 'process by four worker processes, and by one; every job must run once',
  figure: 'perSecond',
  unit: 'jobs/s',
  needs: [],
  async run(context) {
    const one = await processBy(context, 1);
    const four = await processBy(context, PROCESSES);
    return { perSecond: four, perSecondOfOne: one };
  },
};

/** A worker in a process of its own: reports how many jobs it started. */
export const worker: Scenario = {
  ...scaleOut,
  what: 'a part',
  async run({ queue }): Promise<Figures> {
    let started = 0;
    const { go, stop } = awaitOrders();
    await go;
    await queue.work(
      () => {
        started++;
      },
      { purpose: 'throughput' },
    );
    await stop;
    return { started };
  },
};

async function processBy(context: Context, processes: number): Promise<number> {
  const workers = Array.from({ length: processes }, () => startPart(context, 'part:worker'));
  await Promise.all(workers.map(({ ready }) => ready));
  await addAll(context, context.sizes.jobs);
  const begin = performance.now();
  for (const { go } of workers) go();
  while (await context.queue.unfinished()) await sleep(5);
  const perSecond = (context.sizes.jobs / (performance.now() - begin)) * 1000;
  const parts = await Promise.all(workers.map(({ stop }) => stop()));
  const started = parts.reduce((sum, part) => sum + (part['started'] ?? 0), 0);
  if (started !== context.sizes.jobs) throw new Error(`${started} jobs were started of ${context.sizes.jobs}`);
  return perSecond;
}

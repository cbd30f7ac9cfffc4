import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkOptions } from '../contenders/contender.js';
import type { Context, Figures } from './scenario.js';

/**
 * Starts a worker with a no-op handler. `perSecond` counts until all jobs are settled; `startedPerSecond` until the
 * handler of the last of `count` jobs starts, which can also be measured where more jobs wait behind.
 */
export async function processAll(
  context: Context,
  count: number,
  options: Partial<WorkOptions> = {},
): Promise<Figures> {
  const { queue, meter } = context;
  const counter = startCounter(count);
  const before = await meter.read();
  await queue.work(counter.handler, { purpose: 'throughput', ...options });
  const { startedPerSecond } = await counter.reached(before.at);
  while (await queue.unfinished()) await sleep(2);
  const cost = await meter.since(before, count);
  if (counter.started() !== count) throw new Error(`${counter.started()} jobs were started of ${count}`);
  return { ...cost, startedPerSecond };
}

/** The same where more than `count` jobs are waiting. */
export async function processFirst(
  context: Context,
  count: number,
  options: Partial<WorkOptions> = {},
): Promise<Figures> {
  const counter = startCounter(count);
  const begin = performance.now();
  await context.queue.work(counter.handler, { purpose: 'throughput', ...options });
  return counter.reached(begin);
}

function startCounter(count: number) {
  let started = 0;
  let reach = () => {};
  const end = new Promise<void>((resolve) => {
    reach = resolve;
  });
  let at = 0;
  return {
    handler() {
      if (++started !== count) return;
      at = performance.now();
      reach();
    },
    started: () => started,
    async reached(begin: number): Promise<{ startedPerSecond: number }> {
      await end;
      return { startedPerSecond: (count / (at - begin)) * 1000 };
    },
  };
}

import { setTimeout as sleep } from 'node:timers/promises';
import { addAll } from './add.js';
import type { Scenario } from './scenario.js';

const megabytes = () => process.memoryUsage().rss / 1024 / 1024;

export const memory: Scenario = {
  what: '100,000 jobs through one worker: memory of its process after 40,000, and at the end',
  figure: 'grownMB',
  unit: 'MB',
  needs: ['queue'],
  only: ['conveyor', 'graphile-tuned', 'pg-boss', 'bullmq-redis'],
  once: true,
  async run(context) {
    let started = 0;
    await context.queue.work(
      () => {
        started++;
      },
      { purpose: 'throughput' },
    );
    const { memory: all } = context.sizes;
    let warmMB = 0;
    for (let added = all / 5; added <= all; added += all / 5) {
      await addAll(context, all / 5);
      while (started < added) await sleep(20);
      if (added === (all / 5) * 2) warmMB = megabytes();
    }
    const endMB = megabytes();
    return { warmMB, endMB, grownMB: endMB - warmMB };
  },
};

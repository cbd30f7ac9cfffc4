import { setTimeout as sleep } from 'node:timers/promises';
import { addAll } from './add.js';
import { awaitOrders, startPart } from './part.js';
import type { Scenario } from './scenario.js';
import { processAll } from './work.js';

export const events: Scenario = {
  what: 'process, with a subscriber to its events in another process',
  figure: 'perSecond',
  unit: 'jobs/s',
  needs: ['events'],
  async run(context) {
    const subscriber = startPart(context, 'part:subscriber');
    await subscriber.ready;
    subscriber.go();
    await addAll(context, context.sizes.jobs);
    await sleep(500);
    const figures = await processAll(context, context.sizes.jobs);
    await sleep(2_000);
    const { received = 0 } = await subscriber.stop();
    return { ...figures, delivered: received / context.sizes.jobs };
  },
};

/** Counts the events it receives. */
export const subscriber: Scenario = {
  ...events,
  what: 'a part',
  async run({ queue }) {
    const received = await queue.countCompleted?.();
    const { stop } = awaitOrders();
    await stop;
    return { received: received?.() ?? 0 };
  },
};
